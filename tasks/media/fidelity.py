"""Whether an excerpt, as it was read back, is what was read from its source. Pure functions.

An excerpt is unfit if a node could make anything else of it than of the whole source, be it only
another warning. So a source that is damaged, or whose clock steps, is sent whole.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, islice
from operator import add, sub

from tasks.models import Extent

STEP_SECONDS = 0.09  # runner.sh reports gaps from 0.1 s on
END_SECONDS = 0.45  # runner.sh tolerates 0.5 s
HEAD_BYTES = 16_384  # that a format may need, however short the sound is
LEAST_SHARE = 0.85  # of the bytes that are sound: below 0.8, runner.sh looks for damage
_LAST_PACKETS = 8  # one of these ends last
_SLOW_RATE = 24_000  # FFmpeg may find out late that the rate of AAC is the double
_HALF = Fraction(1, 2)


class Unfit(Exception):  # noqa: N818  nothing is wrong: the whole source is sent
    """An excerpt that must not be sent. The message is the reason."""


@dataclass(slots=True)
class TrackRecord:
    """A sound track as it was read.

    Attributes:
        unit: Seconds per tick of its clock.
        rate: Samples per second.
        codec: FFmpeg's name for the codec.
        header: The header of the codec. b"": each packet has its own, or the codec needs none.
        properties: Its other parameters, its flags and its tags.
        has_free_packets: Whether a muxer may join or split its packets.
        times: When each packet starts, in ticks.
        durations: How long each packet lasts, in ticks.
        digest: Hash of all packets, and of what decoders skip in them.
        skipped_samples: What decoders skip at the start.
        size_bytes: Bytes in all packets.
        declared_end: When the sound ends, as an edit list declares it, in ticks. None: there is
            none. From version 8 on, FFmpeg cuts the last packet there.
    """

    unit: Fraction
    rate: int
    codec: str
    header: bytes
    properties: Mapping[str, object]
    has_free_packets: bool
    times: "array[int]" = field(default_factory=lambda: array("q"))
    durations: "array[int]" = field(default_factory=lambda: array("q"))
    digest: bytes = b""
    skipped_samples: int = 0
    size_bytes: int = 0
    declared_end: int | None = None

    def seconds(self, ticks: int) -> float:
        return float(ticks * self.unit)

    @property
    def end(self) -> int:
        """When the sound ends, in ticks."""
        last = slice(-_LAST_PACKETS, None)
        times, durations = self.times[last], self.durations[last]
        return max(start + length for start, length in zip(times, durations, strict=True))

    @property
    def cut_end(self) -> int | None:
        """Where FFmpeg cuts the last packet. None: it decodes all of it."""
        return None if self.declared_end is None else min(self.end, self.declared_end)

    @property
    def is_cut(self) -> bool:
        return self.declared_end is not None and self.declared_end < self.end

    @property
    def length(self) -> Fraction:
        """Seconds up to where the last packet is cut, from the start of the first."""
        end = self.end if self.cut_end is None else self.cut_end
        return (end - self.times[0]) * self.unit

    def steps(self) -> Iterator[int]:
        """Yield how long after the end of the packet before it each packet starts, in ticks."""
        return map(sub, islice(self.times, 1, None), map(add, self.times, self.durations))

    def drifts(self) -> Iterator[float]:
        """Yield how long after the end of all samples before it each packet starts, in seconds."""
        samples_per_tick = float(self.unit) * self.rate
        lengths = (round(ticks * samples_per_tick) for ticks in self.durations)
        for start, samples in zip(self.times, accumulate(lengths, initial=0), strict=False):
            yield ((start - self.times[0]) * samples_per_tick - samples) / self.rate


@dataclass(frozen=True, slots=True)
class ChapterRecord:
    """A chapter. Its times are milliseconds from the beginning of the file."""

    start: int
    end: int
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Recording:
    """What was read of a file."""

    start_microseconds: int  # its earliest time, which ffmpeg makes zero
    packets_start_microseconds: int  # the same before version 8: what decoders skip counts
    tracks: Sequence[TrackRecord]
    tags: Mapping[str, str]
    chapters: Sequence[ChapterRecord]
    cover: tuple[bytes, Mapping[str, str]] | None
    size_bytes: int = 0


def check_for_copy(source: Recording, copy: Recording) -> None:
    """Check also what ends up in an output that copies the packets: their exact lengths.

    Raises:
        Unfit: A length is another, or packets are cut at the end of the sound.
    """
    for track, copied in zip(source.tracks, copy.tracks, strict=True):
        are_equal = (track.unit, track.durations) == (copied.unit, copied.durations)
        if not are_equal or track.declared_end not in (None, track.end):
            raise Unfit("its lengths change in a copy")
        if copied.declared_end not in (None, copied.end):
            raise Unfit("its lengths change in a copy")


def compare(source: Recording, copy: Recording, claims: Sequence[Extent]) -> None:
    """Check that a copy has all that a sound source has.

    Raises:
        Unfit: The source is not sound, or the copy is something else.
    """
    if source.tags != copy.tags:
        raise Unfit("its tags change")
    if not _are_equal(source.chapters, copy.chapters):
        raise Unfit("its chapters change")
    if source.cover != copy.cover:
        raise Unfit("its cover changes")
    for track, copied, claim in zip(source.tracks, copy.tracks, claims, strict=True):
        _check_track(track, copied)
        _check_clock(track, claim, start_microseconds=source.start_microseconds)
        _check_times(track, copied)
        _check_last_packet(track, copied)
        _check_start(source, track, copy, copied, claim)
    _check_share(copy)


def _check_share(copy: Recording) -> None:
    about = sum(len(track.header) for track in copy.tracks) + HEAD_BYTES
    about += len(copy.cover[0]) if copy.cover else 0
    if sum(track.size_bytes for track in copy.tracks) < LEAST_SHARE * (copy.size_bytes - about):
        raise Unfit("its packets are tiny")


def _are_equal(chapters: Sequence[ChapterRecord], copied: Sequence[ChapterRecord]) -> bool:
    return len(chapters) == len(copied) and all(
        one.tags == other.tags and max(abs(one.start - other.start), abs(one.end - other.end)) <= 1
        for one, other in zip(chapters, copied, strict=True)
    )


def _check_track(track: TrackRecord, copied: TrackRecord) -> None:
    if not track.times or not copied.times or track.digest != copied.digest:
        raise Unfit("its packets change")
    if len(track.times) == 1:
        raise Unfit("it has only one packet")  # version 7 makes less of it beside a film
    if track.header and track.header != copied.header:
        raise Unfit("its codec header changes")
    if (track.codec, track.rate) != (copied.codec, copied.rate):
        raise Unfit("its codec changes")
    if track.properties != copied.properties:
        raise Unfit("its channels, flags or tags change")


def _check_clock(track: TrackRecord, claim: Extent, *, start_microseconds: int) -> None:
    """Check that the clock does not step, and that the sound ends where the source declares it."""
    if any(abs(track.seconds(step)) > STEP_SECONDS for step in _extremes(track.steps())):
        raise Unfit("its clock steps")
    # Some formats stretch the packet before a gap.
    if not track.has_free_packets and track.seconds(_spread(track.durations[:-1])) > STEP_SECONDS:
        raise Unfit("it has a gap")
    end = track.seconds(track.end) - start_microseconds / 1e6
    if claim.end_seconds is not None:
        is_right = abs(end - claim.end_seconds) <= END_SECONDS
    else:  # then nothing may be missing from the whole source
        is_right = claim.source_seconds is None or end > claim.source_seconds - END_SECONDS
    if not is_right:
        raise Unfit("it does not end where it declares")


def _spread(values: Sequence[int]) -> int:
    return max(values, default=0) - min(values, default=0)


def _extremes(values: Iterable[int]) -> tuple[int, int]:
    least = most = 0
    for value in values:
        if value < least:
            least = value
        elif value > most:
            most = value
    return least, most


def _check_times(track: TrackRecord, copied: TrackRecord) -> None:
    """Check that packets keep their times, or times that only the copy's clock has rounded."""
    first, other = track.times[0], copied.times[0]
    if track.unit == copied.unit and not track.has_free_packets:
        shifts = map(sub, copied.times, track.times)
        if all(shift == other - first for shift in shifts):
            return
    # ffmpeg fills gaps of 0.1 s, also those that add up. Rounding must not decide where.
    if any(abs(seconds) > STEP_SECONDS / 2 for seconds in track.drifts()):
        raise Unfit("its clock drifts")
    pairs: Iterable[tuple[int, int]] = zip(track.times, copied.times, strict=False)
    if track.has_free_packets:
        pairs = [(track.end, copied.end)]
    most, here, there = (float(u) for u in (max(track.unit, copied.unit), track.unit, copied.unit))
    if any(abs((a - first) * here - (b - other) * there) > 1.01 * most for a, b in pairs):
        raise Unfit("its times change")


def _check_last_packet(track: TrackRecord, copied: TrackRecord) -> None:
    """Check that the last packet is cut at the same sample, if FFmpeg cuts it at all."""
    is_cut = track.is_cut or track.durations[-1] != track.durations[0]
    if copied.cut_end is None or not (is_cut or copied.is_cut):
        return
    # Version 9 cuts none if an empty edit delays the sound.
    are_late = [_first_sample(each, 0) > 0 for each in (track, copied)]
    if track.cut_end is None or track.length != copied.length or len(set(are_late)) > 1:
        raise Unfit("its last packet changes")


def _check_start(
    source: Recording, track: TrackRecord, copy: Recording, copied: TrackRecord, claim: Extent
) -> None:
    """Check that the sound starts at the same sample of the output.

    A film or another track may start before its sound. An excerpt has none, so its sound starts at
    zero. Where the declared start is later, the filters of sync.py start both there.
    """
    claimed = math.floor(float(claim.start_text) * track.rate)
    is_doubtful = track.codec == "aac" and track.rate <= _SLOW_RATE
    for begin, other_begin in (
        (source.start_microseconds, copy.start_microseconds),
        (source.packets_start_microseconds, copy.packets_start_microseconds),
    ):
        start, other = _first_sample(track, begin), _first_sample(copied, other_begin)
        if start != other and (max(start, other) > claimed or is_doubtful):
            raise Unfit("its start changes")


def _first_sample(track: TrackRecord, start_microseconds: int) -> int:
    """Return the time of the first sample as ffmpeg has it, in samples."""
    start = _rounded(Fraction(start_microseconds, 1_000_000) / track.unit)
    first = (track.times[0] - start) * track.unit * track.rate
    return _rounded(first) + track.skipped_samples


def _rounded(value: Fraction) -> int:
    """Round as FFmpeg does: half away from zero."""
    return math.floor(abs(value) + _HALF) * (1 if value >= 0 else -1)
