"""Writes an excerpt of a source: copies of some sound tracks, with tags, chapters and cover.

Then it reads the excerpt back, and believes nothing else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tasks.media.fidelity import Recording, Unfit, check_for_copy, compare
from tasks.media.recordings import (
    Chosen,
    declared_end,
    is_pcm,
    kept_stream_tags,
    kept_tags,
    moved_chapters,
    open_file,
    read_cover,
    record,
)
from tasks.media.tag_file import RAW
from tasks.models import Excerpt, Extent

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream as AvStream

_MATROSKA = {"default_mode": "passthrough"}
_ITUNES_TAGS = frozenset(
    {"title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"}
    | {"copyright", "grouping", "lyrics", "description", "synopsis", "track", "creation_time"}
)
_MICROSECONDS = 1_000_000
_MOST_TICKS = (1 << 31) - 1


def remux(location: str, target: str, excerpt: Excerpt, claims: Sequence[Extent]) -> None:
    """Write the excerpt of the file at a path to `target`. `claims` has one extent for each track.

    Raises:
        Unfit: The excerpt is not what the source is. Then the target is of no use.
        FFmpegError, OSError: Something cannot be read or written.
    """
    import av

    av.logging.set_level(av.logging.ERROR)
    with av.logging.Capture(local=False) as messages, open_file(location) as file:
        chosen = Chosen.of(file, excerpt.tracks, excerpt.cover)
        skipped = _skipped_codecs(file, chosen)
        source = _copy(file, chosen, target, excerpt)
        copy = _read_back(target, excerpt)
    if complaints := [text.strip() for _, name, text in messages if name not in skipped]:
        raise Unfit(f"FFmpeg reports: {complaints[0]}")
    compare(source, copy, claims)
    if excerpt.is_for_copy:
        check_for_copy(source, copy)


def _skipped_codecs(container: "InputContainer", chosen: Chosen) -> set[str]:
    """Return the codecs of the streams that are not sent. FFmpeg's messages about them name these.

    When it opens a broadcast, it misses the beginning of the film.
    """
    streams = [stream for stream in container.streams if stream.codec_context]
    sent, others = (
        {s.codec_context.codec.canonical_name for s in streams if (s in chosen.sounds) is is_sent}
        for is_sent in (True, False)
    )
    return others - sent


def _copy(source: "InputContainer", chosen: Chosen, target: str, excerpt: Excerpt) -> Recording:
    """Write the excerpt. Return what was read of the source."""
    import av

    tags = kept_tags(source)
    form, options = _form(excerpt, tags, chosen)
    with av.open(f"file:{target}", "w", format=form, options=options, metadata_errors=RAW) as copy:
        copy.metadata.update(tags)
        copy.set_chapters(list(moved_chapters(source)))
        cover = read_cover(source, chosen)
        writer = _Writer(copy, source, chosen)
        if cover:
            writer.add_cover(cover)
        found = record(source, chosen, cover, write=writer.write)
        writer.finish()
        return found


def _read_back(target: str, excerpt: Excerpt) -> Recording:
    """Return what was read of an excerpt."""
    with open_file(target) as copy:
        chosen = Chosen.of(copy, tuple(range(len(excerpt.tracks))), excerpt.cover_in_excerpt)
        cover = read_cover(copy, chosen)
        found = record(copy, chosen, cover, write=lambda _: None)
        return replace(found, size_bytes=copy.size)


def _form(excerpt: Excerpt, tags: Mapping[str, str], chosen: Chosen) -> tuple[str, dict[str, str]]:
    """Return FFmpeg's name for the format to write, and the options of its muxer."""
    if excerpt.form == "matroska":
        return "matroska", _MATROSKA
    # MP4 declares the language of all tracks, and holds PCM only in a way that is too new.
    is_mp4 = all("language" in s.metadata and not is_pcm(s) for s in chosen.sounds)
    # Either all tags, or cover art and the tags of iTunes.
    has_all_tags = chosen.cover is None and not tags.keys() <= _ITUNES_TAGS
    flags = {"movflags": "use_metadata_tags"} if has_all_tags else {}
    return "mp4" if is_mp4 else "mov", {"movie_timescale": str(_clock(chosen)), **flags}


def _clock(chosen: Chosen) -> int:
    """Return the ticks per second in which edit lists name times of all tracks exactly."""
    ticks = math.lcm(*((sound.time_base or Fraction(1)).denominator for sound in chosen.sounds))
    return min(ticks, _MOST_TICKS)


class _Writer:
    """Writes packets of the chosen streams."""

    def __init__(self, copy: "OutputContainer", source: "InputContainer", chosen: Chosen) -> None:
        self._copy = copy
        # Sound that starts later than the source does so in the excerpt. Decoders skip what is
        # before zero.
        begin = max(Fraction(source.start_time or 0, _MICROSECONDS), Fraction(0))
        self._streams = {stream.index: _added(copy, stream) for stream in chosen.sounds}
        self._shifts = {s.index: round(begin / (s.time_base or 1)) for s in chosen.sounds}
        self._ends = {s.index: declared_end(s) for s in chosen.sounds}
        self._waiting: dict[int, Packet[Any]] = {}

    def add_cover(self, cover: "Packet[Any]") -> None:
        stream = cover.stream
        if self._copy.format.name == "matroska":
            name, kind = (stream.metadata.get(each, "") for each in ("filename", "mimetype"))
            added = self._copy.add_attachment(name, kind, bytes(cover))
            added.metadata.update(kept_stream_tags(stream))
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
    added.metadata.update(kept_stream_tags(stream))
    added.disposition = stream.disposition
    return added
