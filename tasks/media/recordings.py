"""Reads what an excerpt can have of a file: sound with all packets, tags, chapters and cover."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tasks.media.fidelity import ChapterRecord, Recording, TrackRecord, Unfit
from tasks.media.input_limits import FORMATS, MOST_PIXELS
from tasks.media.tag_arguments import describing_stream_tags, describing_tags
from tasks.media.tag_file import RAW

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream as AvStream

_OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "max_pixels": str(MOST_PIXELS),
    "protocol_whitelist": "file",
}
_IGNORED_SIDE_DATA = frozenset({"mpegts_stream_id"})
_MICROSECONDS = 1_000_000
_MOV = "mov,"  # how FFmpeg's name for the format of MP4 begins
_PCM = "pcm_"  # how names of its codecs begin
_ADTS_SYNC, _ADTS_BYTES, _ADTS_CHECKED_BYTES = 0xFFF, 7, 9  # ISO 13818-7, 6.2
Write = Callable[["Packet[Any]"], None]


def open_file(location: str) -> "InputContainer":
    import av

    return av.open(f"file:{location}", options=_OPTIONS, metadata_errors=RAW)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The streams of a file that are in the excerpt."""

    sounds: Sequence["AudioStream"]
    cover: "AvStream | None"

    @classmethod
    def of(cls, container: "InputContainer", tracks: Sequence[int], cover: int | None) -> "Chosen":
        """Choose streams, and make FFmpeg skip the others: in some formats it does not read them.

        Raises:
            Unfit: They do not exist.
        """
        from av.stream import Discard

        try:
            sounds = [container.streams.audio[track] for track in tracks]
            picture = None if cover is None else container.streams[cover]
        except IndexError:
            raise Unfit("it lacks a stream") from None
        chosen = cls(sounds, picture)
        for stream in container.streams:
            if stream not in chosen.streams:
                stream.discard = Discard.all
        return chosen

    @property
    def streams(self) -> list["AvStream"]:
        return [*self.sounds, *([self.cover] if self.cover else [])]


def is_pcm(sound: "AudioStream") -> bool:
    return sound.codec_context.codec.canonical_name.startswith(_PCM)


def kept_tags(container: "InputContainer") -> dict[str, str]:
    """Return the tags of a file that its outputs have."""
    return _without(container.metadata, describing_tags(container.format.name))


def kept_stream_tags(stream: "AvStream") -> dict[str, str]:
    """Return the tags of a stream that outputs may have."""
    return _without(stream.metadata, describing_stream_tags(stream.container.format.name))


def _without(tags: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name.lower() not in names}


def moved_chapters(source: "InputContainer") -> Iterator[Any]:
    """Yield the chapters with times from the beginning of the source."""
    for chapter in source.chapters():
        unit = chapter["time_base"] or Fraction(1, _MICROSECONDS)
        skipped = round(Fraction(source.start_time or 0, _MICROSECONDS) / unit)
        times = {"start": chapter["start"] - skipped, "end": chapter["end"] - skipped}
        yield {**chapter, **times, "time_base": unit}


def _chapters(container: "InputContainer") -> Iterator[ChapterRecord]:
    for moved in moved_chapters(container):
        start, end = (round(moved[name] * moved["time_base"] * 1000) for name in ("start", "end"))
        yield ChapterRecord(start, end, moved["metadata"])


@dataclass(slots=True)
class _Reading:
    """A track while its packets are read."""

    track: TrackRecord
    is_bare: bool  # each packet has a header of its own
    packets: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    packet_format: int | None = None  # as the header of the first packet has it

    def add(self, packet: "Packet[Any]") -> None:
        if packet.pts is None or packet.is_corrupt:
            raise Unfit("a packet has no time, or is corrupt")
        data = bytes(packet)
        if not any(data) and not self.track.codec.startswith(_PCM):  # there, zeros are silence
            raise Unfit("a packet has only zeros")
        skipped = self._skipped(packet)
        payload = self._without_header(data) if self.is_bare else data
        track = self.track
        if not track.has_free_packets:
            self.packets.update(b"%d %b " % (len(payload), skipped))
        self.packets.update(payload)
        track.times.append(packet.pts)
        track.durations.append(packet.duration or 0)
        track.size_bytes += len(data)

    def _skipped(self, packet: "Packet[Any]") -> bytes:
        """Return what decoders skip in the packet, as FFmpeg encodes it."""
        kinds = {str(each.data_type) for each in packet.iter_sidedata()} - _IGNORED_SIDE_DATA
        if kinds - {"skip_samples"}:
            raise Unfit(f"a packet has {', '.join(sorted(kinds))}")
        skipped = bytes(packet.get_sidedata("skip_samples")) if kinds else b""
        if not self.track.times:
            self.track.skipped_samples = int.from_bytes(skipped[:4], "little")
        return skipped

    def _without_header(self, data: bytes) -> bytes:
        """Return the packet without its header, which the excerpt has only once."""
        header = int.from_bytes(data[:_ADTS_BYTES], "big")
        length, blocks = header >> 13 & 0x1FFF, header & 3
        if header >> 44 != _ADTS_SYNC or length != len(data) or blocks:
            raise Unfit("a packet of AAC has no header, or a wrong one")
        packet_format = header >> 28  # its rate and channels
        self.packet_format = self.packet_format or packet_format
        if packet_format != self.packet_format:
            raise Unfit("its AAC changes its format")
        return data[_ADTS_BYTES if data[1] & 1 else _ADTS_CHECKED_BYTES :]

    def finish(self) -> TrackRecord:
        self.track.digest = self.packets.digest()
        return self.track


def read_cover(container: "InputContainer", chosen: Chosen) -> "Packet[Any] | None":
    """Return the cover. FFmpeg returns attached pictures before all other packets."""
    if chosen.cover is None:
        return None
    return next(packet for packet in container.demux(chosen.cover) if packet.size)


def record(
    container: "InputContainer", chosen: Chosen, cover: "Packet[Any] | None", *, write: Write
) -> Recording:
    """Read all packets of the sound tracks, and write each."""
    readings = {sound.index: _Reading(_track(sound), _is_bare(sound)) for sound in chosen.sounds}
    try:
        for packet in container.demux(chosen.sounds):
            if packet.size:  # the last ones are empty
                readings[packet.stream_index].add(packet)
                write(packet)
    except IndexError:  # PyAV expects all streams at the start
        raise Unfit("another stream appears in it") from None
    return Recording(
        container.start_time or 0,
        _packets_start(container),
        [reading.finish() for reading in readings.values()],
        kept_tags(container),
        list(_chapters(container)),
        None if cover is None else (bytes(cover), kept_stream_tags(cover.stream)),
    )


def _packets_start(container: "InputContainer") -> int:
    """Return when the earliest packet starts, in microseconds.

    Matroska declares for each sound track what decoders skip at its start.
    """
    starts = (
        (s.start_time * s.time_base - Fraction(s.codec_context.delay, s.codec_context.rate or 1))
        for s in container.streams.audio
        if s.codec_context and s.start_time is not None and s.time_base
    )
    start = container.start_time or 0
    return min((start, *(round(each * _MICROSECONDS) for each in starts)))


def _is_bare(sound: "AudioStream") -> bool:
    """Return whether each packet has a header of its own, which the excerpt does not have.

    Raises:
        Unfit: It is AAC whose header does not say all, such as HE-AAC.
    """
    context = sound.codec_context
    if context.codec.canonical_name != "aac" or context.extradata:
        return False
    if context.profile != "LC":
        raise Unfit("its AAC is not plain")
    return True


def _track(sound: "AudioStream") -> TrackRecord:
    from av.stream import Disposition

    context = sound.codec_context
    # MP4 gives its only track the default flag, in an excerpt and in an output.
    flags = int(sound.disposition & ~Disposition.default)
    return TrackRecord(
        unit=sound.time_base or Fraction(1),
        rate=context.sample_rate,
        codec=context.codec.canonical_name,
        header=bytes(context.extradata or b""),
        properties={
            "profile": context.profile,
            "channels": context.layout.name,
            "flags": flags,
            **kept_stream_tags(sound),
        },
        has_free_packets=is_pcm(sound) and sound.container.format.name.startswith(_MOV),
        declared_end=declared_end(sound),
    )


def declared_end(sound: "AudioStream") -> int | None:
    """Return when an edit list ends the sound. None: there is none, as in fragments of MP4."""
    is_mov = sound.container.format.name.startswith(_MOV)
    if not is_mov or not sound.frames or sound.duration is None:
        return None
    return (sound.start_time or 0) + sound.duration
