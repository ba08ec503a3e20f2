from array import array
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from tasks.media.fidelity import ChapterRecord, Recording, TrackRecord, Unfit, compare
from tasks.models import Extent

RATE, PACKETS = 48_000, 100
END = PACKETS * 1024 / RATE
MILLISECOND = Fraction(1, 1000)


def a_track(**values: Any) -> TrackRecord:
    """Return a track with packets of 1024 samples."""
    times = array("q", (1024 * number for number in range(PACKETS)))
    given: dict[str, Any] = {
        "unit": Fraction(1, RATE),
        "rate": RATE,
        "codec": "aac",
        "header": b"h",
        "properties": {"channels": "stereo"},
        "has_free_packets": False,
        "times": times,
        "durations": array("q", [1024] * PACKETS),
        "digest": b"d",
        "size_bytes": 100 * PACKETS,
    }
    return TrackRecord(**(given | values))


def in_milliseconds(track: TrackRecord) -> TrackRecord:
    def rounded(ticks: "array[int]") -> "array[int]":
        return array("q", (round(t * track.unit / MILLISECOND) for t in ticks))

    return replace(
        track,
        unit=MILLISECOND,
        times=rounded(track.times),
        durations=rounded(track.durations),
        declared_end=None,
    )


def a_recording(track: TrackRecord | None = None, **values: Any) -> Recording:
    given: dict[str, Any] = {"tags": {"title": "T"}, "chapters": [], "cover": (b"c", {})}
    given |= {"start_microseconds": 0, "packets_start_microseconds": 0}
    given |= {"size_bytes": 100 * PACKETS}
    return Recording(tracks=[track or a_track()], **(given | values))


def shifted(track: TrackRecord, ticks: int, *, since: int = 0) -> TrackRecord:
    times = [t + (ticks if number >= since else 0) for number, t in enumerate(track.times)]
    return replace(track, times=array("q", times))


def is_fit(source: Recording, copy: Recording, claim: Extent | None = None) -> bool:
    try:
        compare(source, copy, [claim or Extent(0, END)])
    except Unfit:
        return False
    return True


def test_a_copy_that_equals_its_source_is_fit() -> None:
    assert is_fit(a_recording(), a_recording())


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(a_recording(tags={"TITLE": "T"}), id="tags"),
        pytest.param(a_recording(cover=None), id="cover"),
        pytest.param(a_recording(chapters=[ChapterRecord(0, 1, {})]), id="chapters"),
        pytest.param(a_recording(a_track(digest=b"other")), id="packets"),
        pytest.param(a_recording(a_track(header=b"other")), id="codec header"),
        pytest.param(a_recording(a_track(codec="mp3")), id="codec"),
        pytest.param(a_recording(a_track(properties={"channels": "mono"})), id="channels"),
        pytest.param(a_recording(shifted(a_track(), 2, since=50)), id="times"),
        pytest.param(a_recording(a_track(skipped_samples=1)), id="start"),
        pytest.param(a_recording(size_bytes=100 * PACKETS * 5), id="share of sound"),
    ],
)
def test_a_copy_is_unfit_if_it_has_other(copy: Recording) -> None:
    assert not is_fit(a_recording(), copy)


def test_chapters_may_be_rounded_to_a_millisecond() -> None:
    source = a_recording(chapters=[ChapterRecord(10, 20, {"title": "One"})])
    assert is_fit(source, a_recording(chapters=[ChapterRecord(11, 19, {"title": "One"})]))
    assert not is_fit(source, a_recording(chapters=[ChapterRecord(12, 20, {"title": "One"})]))


def test_an_excerpt_may_have_a_header_where_each_packet_of_the_source_has_one() -> None:
    assert is_fit(a_recording(a_track(header=b"")), a_recording())


def test_times_may_be_rounded_to_the_clock_of_the_copy() -> None:
    source = a_track()
    assert is_fit(a_recording(source), a_recording(in_milliseconds(source)))


def test_lengths_that_are_rounded_to_ticks_are_no_drift() -> None:
    ticks = [round(1024 * number * 90_000 / 44_100) for number in range(10_001)]
    times, ends = array("q", ticks[:-1]), array("q", ticks[1:])
    lengths = array("q", (2089 for _ in times))  # FFmpeg does not round 2089.8
    source = a_track(unit=Fraction(1, 90_000), rate=44_100, times=times, durations=lengths)
    copy = in_milliseconds(source)
    large = {"size_bytes": 100 * PACKETS}
    claim = Extent(0, ends[-1] / 90_000)
    assert is_fit(a_recording(source, **large), a_recording(copy, **large), claim)


def test_rounded_times_are_unfit_if_gaps_add_up() -> None:
    drifting = a_track(times=array("q", (1054 * number for number in range(PACKETS))))
    claim = Extent(0, PACKETS * 1054 / RATE)
    assert is_fit(a_recording(drifting), a_recording(drifting), claim)
    assert not is_fit(a_recording(drifting), a_recording(in_milliseconds(drifting)), claim)


@pytest.mark.parametrize("step", [4800, -4800])
def test_a_source_whose_clock_steps_is_unfit(step: int) -> None:
    source = a_recording(shifted(a_track(), step, since=50))
    assert not is_fit(source, source, Extent(0, END + step / RATE))


def test_a_source_with_a_stretched_packet_is_unfit() -> None:
    track = shifted(a_track(), 48_000, since=50)
    track.durations[49] += 48_000
    assert not is_fit(a_recording(track), a_recording(track), Extent(0, END + 1))


@pytest.mark.parametrize(
    ("claim", "is_right"),
    [
        (Extent(0, END + 0.4), True),
        (Extent(0, END + 0.5), False),
        (Extent(0, END - 0.5), False),
        (Extent(0, None, END + 0.4), True),
        (Extent(0, None, END + 5), False),
        (Extent(0, None, None), True),
    ],
)
def test_a_source_that_does_not_end_where_it_declares_is_unfit(
    claim: Extent, *, is_right: bool
) -> None:
    assert is_fit(a_recording(), a_recording(), claim) is is_right


def late(change: Callable[[TrackRecord], TrackRecord] = lambda track: track) -> Recording:
    """Return a film whose sound starts after a second and a sample."""
    return a_recording(change(shifted(a_track(), RATE + 1)))


def test_the_declared_start_stands_for_a_film_that_starts_before_its_sound() -> None:
    start = (RATE + 1) / RATE
    claim = Extent(start, start + END)
    assert is_fit(late(), a_recording(), claim)
    assert not is_fit(late(), a_recording(), replace(claim, start_seconds=start - 1 / RATE))
    assert not is_fit(late(), a_recording(), replace(claim, start_seconds=0))


def test_a_source_whose_first_packet_is_before_its_start_keeps_it() -> None:
    early = shifted(a_track(skipped_samples=1024), -1024)
    assert is_fit(a_recording(early), a_recording(early))
    assert not is_fit(a_recording(early), a_recording(a_track(skipped_samples=1024)))


def test_a_source_with_another_track_that_starts_earlier_is_unfit() -> None:
    early = shifted(a_track(skipped_samples=312), -312)
    source, copy = (
        a_recording(early, packets_start_microseconds=start) for start in (-21_333, -6_500)
    )
    assert is_fit(source, source)
    assert is_fit(copy, copy)
    assert not is_fit(source, copy)


def test_sound_that_an_empty_edit_delays_keeps_it_if_its_last_packet_is_short() -> None:
    short = a_track(durations=array("q", [*[1024] * (PACKETS - 1), 512]))
    delayed = a_recording(
        replace(shifted(short, RATE), declared_end=RATE + short.end),
        start_microseconds=1_000_000,
        packets_start_microseconds=1_000_000,
    )
    assert is_fit(delayed, delayed)
    assert not is_fit(delayed, a_recording(replace(short, declared_end=short.end)))


def test_sound_of_one_packet_is_unfit() -> None:
    one, two = (
        a_recording(a_track(times=array("q", range(0, end, 1024)), durations=array("q", lengths)))
        for end, lengths in ((1024, [1024]), (2048, [1024, 1024]))
    )
    assert is_fit(two, two, Extent(0, 2048 / RATE))
    assert not is_fit(one, one, Extent(0, 1024 / RATE))


def test_the_last_packet_ends_where_that_of_the_source_is_cut() -> None:
    end = PACKETS * 1024
    source = a_recording(a_track(declared_end=end - 24))
    assert is_fit(source, a_recording(a_track(declared_end=end - 24)))
    assert not is_fit(source, a_recording(a_track(declared_end=end)))
    assert is_fit(a_recording(a_track()), a_recording(a_track(declared_end=end)))
