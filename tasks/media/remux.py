"""Writes an excerpt of a source: copies of some sound tracks, with tags, chapters and cover.

Then it reads the excerpt back, and believes nothing else.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tasks.media.fidelity import (
    ChapterRecord,
    Recording,
    TrackRecord,
    Unfit,
    check_for_copy,
    compare,
)
from tasks.media.input_limits import FORMATS, MOST_PIXELS
from tasks.media.tag_arguments import DESCRIBING, DESCRIBING_STREAMS
from tasks.media.tag_file import RAW
from tasks.models import Excerpt, Extent

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream as AvStream

_OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "max_pixels": str(MOST_PIXELS),
    "protocol_whitelist": "file",
}
_MATROSKA = {"default_mode": "passthrough"}
_ITUNES_TAGS = frozenset(
    {"title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"}
    | {"copyright", "grouping", "lyrics", "description", "synopsis", "track", "creation_time"}
)
_IGNORED_SIDE_DATA = frozenset({"mpegts_stream_id"})
_MICROSECONDS = 1_000_000
_MOV = "mov,"  # how FFmpeg's name for the format of MP4 begins
_PCM = "pcm_"  # how names of its codecs begin
_MOST_TICKS = (1 << 31) - 1
_ADTS_SYNC, _ADTS_BYTES, _ADTS_CHECKED_BYTES = 0xFFF, 7, 9  # ISO 13818-7
Write = Callable[["Packet[Any]"], None]


def remux(location: str, target: str, excerpt: Excerpt, claims: Sequence[Extent]) -> None:
    """Write the excerpt of the file at a path to `target`. `claims` has one extent for each track.

    Raises:
        Unfit: The excerpt is not what the source is. Then the target is of no use.
        FFmpegError, OSError: Something cannot be read or written.
    """
    import av

    av.logging.set_level(av.logging.ERROR)
    with av.logging.Capture(local=False) as messages, _open(location) as file:
        chosen = _Chosen.of(file, excerpt.tracks, excerpt.cover)
        skipped = _skipped_codecs(file, chosen)
        source = _copy(file, chosen, target, excerpt)
        copy = _read_back(target, excerpt)
    if complaints := [text.strip() for _, name, text in messages if name not in skipped]:
        raise Unfit(f"FFmpeg reports: {complaints[0]}")
    compare(source, copy, claims)
    if excerpt.is_for_copy:
        check_for_copy(source, copy)


def _open(location: str) -> "InputContainer":
    import av

    return av.open(f"file:{location}", options=_OPTIONS, metadata_errors=RAW)


def _skipped_codecs(container: "InputContainer", chosen: "_Chosen") -> set[str]:
    """Return the codecs of which nothing is sent. FFmpeg logs by their names what is wrong there.

    When it opens a broadcast, it misses the beginning of the film.
    """
    streams = [stream for stream in container.streams if stream.codec_context]
    sent, others = (
        {s.codec_context.codec.canonical_name for s in streams if (s in chosen.sounds) is is_sent}
        for is_sent in (True, False)
    )
    return others - sent


def _copy(source: "InputContainer", chosen: "_Chosen", target: str, excerpt: Excerpt) -> Recording:
    """Write the excerpt. Return what was read of the source."""
    import av

    tags = _kept(source.metadata, DESCRIBING)
    form, options = _form(excerpt, tags, chosen)
    with av.open(f"file:{target}", "w", format=form, options=options, metadata_errors=RAW) as copy:
        copy.metadata.update(tags)
        copy.set_chapters(list(_moved_chapters(source)))
        cover = _read_cover(source, chosen)
        writer = _Writer(copy, source, chosen)
        if cover:
            writer.add_cover(cover)
        found = _record(source, chosen, cover, write=writer.write)
        writer.finish()
        return found


def _read_back(target: str, excerpt: Excerpt) -> Recording:
    """Return what was read of an excerpt."""
    with _open(target) as copy:
        chosen = _Chosen.of(copy, tuple(range(len(excerpt.tracks))), excerpt.cover_in_excerpt)
        cover = _read_cover(copy, chosen)
        found = _record(copy, chosen, cover, write=lambda _: None)
        return replace(found, size_bytes=copy.size)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The streams of a file that are in the excerpt."""

    sounds: Sequence["AudioStream"]
    cover: "AvStream | None"

    @classmethod
    def of(cls, container: "InputContainer", tracks: Sequence[int], cover: int | None) -> "_Chosen":
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


def _form(excerpt: Excerpt, tags: Mapping[str, str], chosen: _Chosen) -> tuple[str, dict[str, str]]:
    """Return FFmpeg's name for the format to write, and the options of its muxer."""
    if excerpt.form == "matroska":
        return "matroska", _MATROSKA
    # MP4 declares the language of all tracks, and holds PCM only in a way that is too new.
    is_mp4 = all("language" in s.metadata and not _is_pcm(s) for s in chosen.sounds)
    # Either all tags, or cover art and the tags of iTunes.
    has_all_tags = chosen.cover is None and not tags.keys() <= _ITUNES_TAGS
    flags = {"movflags": "use_metadata_tags"} if has_all_tags else {}
    return "mp4" if is_mp4 else "mov", {"movie_timescale": str(_clock(chosen)), **flags}


def _clock(chosen: _Chosen) -> int:
    """Return the ticks per second in which edit lists name times of all tracks exactly."""
    ticks = math.lcm(*((sound.time_base or Fraction(1)).denominator for sound in chosen.sounds))
    return min(ticks, _MOST_TICKS)


def _is_pcm(sound: "AudioStream") -> bool:
    return sound.codec_context.codec.canonical_name.startswith(_PCM)


def _kept(tags: Mapping[str, str], left_out: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name.lower() not in left_out}


def _moved_chapters(source: "InputContainer") -> Iterator[Any]:
    """Yield the chapters with times from the beginning of the source."""
    for chapter in source.chapters():
        unit = chapter["time_base"] or Fraction(1, _MICROSECONDS)
        skipped = round(Fraction(source.start_time or 0, _MICROSECONDS) / unit)
        times = {"start": chapter["start"] - skipped, "end": chapter["end"] - skipped}
        yield {**chapter, **times, "time_base": unit}


def _chapters(container: "InputContainer") -> Iterator[ChapterRecord]:
    for moved in _moved_chapters(container):
        start, end = (round(moved[name] * moved["time_base"] * 1000) for name in ("start", "end"))
        yield ChapterRecord(start, end, moved["metadata"])


class _Writer:
    """Writes packets of the chosen streams."""

    def __init__(self, copy: "OutputContainer", source: "InputContainer", chosen: _Chosen) -> None:
        self._copy = copy
        # Sound that starts later than the source does so in the excerpt. Decoders skip what is
        # before zero.
        begin = max(Fraction(source.start_time or 0, _MICROSECONDS), Fraction(0))
        self._streams = {stream.index: _added(copy, stream) for stream in chosen.sounds}
        self._shifts = {s.index: round(begin / (s.time_base or 1)) for s in chosen.sounds}
        self._ends = {s.index: _declared_end(s) for s in chosen.sounds}
        self._waiting: dict[int, Packet[Any]] = {}

    def add_cover(self, cover: "Packet[Any]") -> None:
        stream = cover.stream
        if self._copy.format.name == "matroska":
            name, kind = (stream.metadata.get(each, "") for each in ("filename", "mimetype"))
            added = self._copy.add_attachment(name, kind, bytes(cover))
            added.metadata.update(_kept(stream.metadata, DESCRIBING_STREAMS))
        else:
            self._streams[stream.index] = _added(self._copy, stream)
            self._mux(cover)

    def write(self, packet: "Packet[Any]") -> None:
        """Write the packet before this one: the last of a track is not like the others."""
        if waiting := self._waiting.pop(packet.stream_index, None):
            self._mux(waiting)
        self._waiting[packet.stream_index] = packet

    def finish(self) -> None:
        for index, packet in sorted(self._waiting.items()):
            end, start, length = self._ends.get(index), packet.pts, packet.duration or 0
            if end is not None and start is not None and start < end < start + length:
                packet.duration = end - start
            self._mux(packet)

    def _mux(self, packet: "Packet[Any]") -> None:
        shift = self._shifts.get(packet.stream_index, 0)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = self._streams[packet.stream_index]
        self._copy.mux_one(packet)


def _added(copy: "OutputContainer", stream: "AvStream") -> "AvStream":
    added = copy.add_stream_from_template(stream, opaque=True)
    added.metadata.update(_kept(stream.metadata, DESCRIBING_STREAMS))
    added.disposition = stream.disposition
    return added


@dataclass(slots=True)
class _Reading:
    """A track while its packets are read."""

    track: TrackRecord
    is_bare: bool  # each packet has a header of its own
    packets: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def add(self, packet: "Packet[Any]") -> None:
        if packet.pts is None or packet.is_corrupt:
            raise Unfit("a packet has no time, or is corrupt")
        data = bytes(packet)
        if not any(data) and not self.track.codec.startswith(_PCM):  # there, zeros are silence
            raise Unfit("a packet has only zeros")
        skipped = self._skipped(packet)
        payload = _without_header(data) if self.is_bare else data
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

    def finish(self) -> TrackRecord:
        self.track.digest = self.packets.digest()
        return self.track


def _without_header(data: bytes) -> bytes:
    if len(data) < _ADTS_BYTES or int.from_bytes(data[:2], "big") >> 4 != _ADTS_SYNC:
        raise Unfit("a packet of AAC has no header")
    return data[_ADTS_BYTES if data[1] & 1 else _ADTS_CHECKED_BYTES :]


def _read_cover(container: "InputContainer", chosen: _Chosen) -> "Packet[Any] | None":
    """Return the cover. FFmpeg returns attached pictures before all other packets."""
    if chosen.cover is None:
        return None
    return next(packet for packet in container.demux(chosen.cover) if packet.size)


def _record(
    container: "InputContainer", chosen: _Chosen, cover: "Packet[Any] | None", *, write: Write
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
        [reading.finish() for reading in readings.values()],
        _kept(container.metadata, DESCRIBING),
        list(_chapters(container)),
        None if cover is None else (bytes(cover), _kept(cover.stream.metadata, DESCRIBING_STREAMS)),
    )


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
    context = sound.codec_context
    return TrackRecord(
        unit=sound.time_base or Fraction(1),
        rate=context.sample_rate,
        codec=context.codec.canonical_name,
        header=bytes(context.extradata or b""),
        properties={
            "profile": context.profile,
            "channels": context.layout.name,
            "flags": int(sound.disposition),
            **_kept(sound.metadata, DESCRIBING_STREAMS),
        },
        has_free_packets=_is_pcm(sound) and sound.container.format.name.startswith(_MOV),
        declared_end=_declared_end(sound),
    )


def _declared_end(sound: "AudioStream") -> int | None:
    """Return when an edit list ends the sound. None: there is none, as in fragments of MP4."""
    is_mov = sound.container.format.name.startswith(_MOV)
    if not is_mov or not sound.frames or sound.duration is None:
        return None
    return (sound.start_time or 0) + sound.duration
