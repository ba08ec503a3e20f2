"""The time left in simulated runs, as polls show it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_runs import Shown, SimulatedRun, shown

from tasks.results.forecast import Forecast, filled, last_end

TENTH = 1.1
SECOND = 1.0  # of the clock that is shown
MB = 1_000_000
Maker = Callable[..., SimulatedRun]


def a_run(
    works: Sequence[float],
    *,
    slots: int = 2,
    factor: float = 1.0,
    seconds: Sequence[float] = (),
    sent: Sequence[float] = (),
    **values: float,
) -> SimulatedRun:
    """Return a run whose conversions all take the expected time, multiplied by the factor."""
    return SimulatedRun(
        works=works,
        seconds=[each * factor for each in seconds or works],
        sent=sent or [0.05] * len(works),
        uploads=[0] * len(works),
        slots=slots,
        **values,
    )


def equal_files(**values: float) -> SimulatedRun:
    return a_run([7.0] * 100, **values)


def few_files(**values: float) -> SimulatedRun:
    return a_run([7.0] * 12, **values)


def long_film_among_clips(**values: float) -> SimulatedRun:
    return a_run([200.0] + [6.0] * 150, **values)


def film_as_long_as_most_clips(**values: float) -> SimulatedRun:
    return a_run([400.0] + [3.0] * 150, **values)


def files_of_all_lengths(**values: float) -> SimulatedRun:
    return a_run([100 * 0.95**n for n in range(100)], **values)


def two_presets(**values: float) -> SimulatedRun:
    return a_run([7.0] * 50 + [1.5] * 50, **values)


def cheap_copies(**values: float) -> SimulatedRun:
    return a_run([10.0] * 40 + [1.0] * 40, seconds=[10.0] * 40 + [0.3] * 40, **values)


def tiny_files(**values: float) -> SimulatedRun:
    return a_run([0.1] * 2000, **values)


def slow_upload(**values: float) -> SimulatedRun:
    """Return a run whose waves grow to 16 files. Each file takes 2 seconds to upload."""
    return uploaded_in_waves([7.0] * 104, [20 * MB] * 104, **values)


def slots_that_wait_for_files(**values: float) -> SimulatedRun:
    """Return a run that takes little more time than its uploads."""
    return uploaded_in_waves([0.3] * 104, [40 * MB] * 104, **values)


def heavy_files_last(**values: float) -> SimulatedRun:
    """Return a run whose films take less time to convert than its recordings, and more to send."""
    works = [20.0] * 40 + [5.0] * 64
    return uploaded_in_waves(works, [5 * MB] * 40 + [100 * MB] * 64, **values)


def uploaded_in_waves(
    works: Sequence[float], uploads: Sequence[int], **values: float
) -> SimulatedRun:
    """Return a run of 104 files whose waves grow to 16 files, on a line of 10 MB/s."""
    sizes = [8, *[16] * 6]
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    sent_at = [sum(uploads[:end]) / (10 * MB) for end in ends]
    sent = [at for at, size in zip(sent_at, sizes, strict=True) for _ in range(size)]
    return replace(a_run(works, sent=sent, **values), uploads=uploads)


RUNS = (
    equal_files,
    few_files,
    long_film_among_clips,
    files_of_all_lengths,
    two_presets,
    cheap_copies,
    tiny_files,
    slow_upload,
    heavy_files_last,
    slots_that_wait_for_files,
)
# The last one shows no time left before half of the time: its clips tell little of its film.
ALL_RUNS = (*RUNS, film_as_long_as_most_clips)
circumstances = {
    "slots": st.integers(1, 8),
    "factor": st.floats(0.3, 3),
    "boot_seconds": st.one_of(st.just(0.0), st.floats(0, 200)),
    "first_poll": st.floats(0.06, 0.5),
}


def largest_growth(times: Sequence[Shown]) -> float:
    """Return the largest ratio of a time to an earlier one, less what rounding explains."""
    least, growth = math.inf, 0.0
    for each in times:
        growth = max(growth, (each.left - SECOND) / least)
        least = min(least, each.left)
    return growth


def largest_error(run: SimulatedRun, times: Sequence[Shown]) -> float:
    """Return the largest error after a quarter of the conversions' time, as a share of it."""
    converting_seconds = run.end - run.starts[0]
    late = [each for each in times if each.at > run.starts[0] + converting_seconds / 4]
    return max((abs(e.left - e.true_left) / converting_seconds for e in late), default=0.0)


@pytest.mark.parametrize("make", ALL_RUNS)
@settings(max_examples=25)
@given(values=st.fixed_dictionaries(circumstances))
def test_the_time_left_grows_by_no_more_than_a_tenth_while_nothing_goes_wrong(
    make: Maker, values: dict[str, float]
) -> None:
    assert largest_growth(shown(make(**values))) <= TENTH


@pytest.mark.parametrize("make", ALL_RUNS)
@settings(max_examples=25)
@given(values=st.fixed_dictionaries(circumstances))
def test_after_a_quarter_of_the_time_the_error_is_less_than_a_fifth_of_it(
    make: Maker, values: dict[str, float]
) -> None:
    run = make(**values)
    assert largest_error(run, shown(run)) < 0.2


@settings(max_examples=25)
@given(values=st.fixed_dictionaries(circumstances))
def test_the_time_left_is_right_if_batch_needs_seconds_to_start_each_short_file(
    values: dict[str, float],
) -> None:
    run = a_run([0.7] * 300, delay_seconds=3.5, **values)
    times = shown(run)
    assert largest_growth(times) <= TENTH
    assert largest_error(run, times) < 0.2


@pytest.mark.parametrize("make", RUNS)
def test_the_time_left_is_shown_before_half_of_the_time(make: Maker) -> None:
    run = make(boot_seconds=5.0)
    assert shown(run)[0].at < (run.starts[0] + run.end) / 2


@pytest.mark.parametrize("make", ALL_RUNS)
def test_the_last_poll_comes_soon_after_the_last_file(make: Maker) -> None:
    run = make(boot_seconds=180.0)
    *_, (last, _) = run.polls()
    assert last - run.end < max(1, (run.end - run.starts[0]) / 50)


@pytest.mark.parametrize("make", ALL_RUNS)
def test_the_polls_of_a_minute_of_conversions_are_few(make: Maker) -> None:
    run = make(slots=1, factor=3.0)
    third_minute = [at for at, _ in run.polls() if 120 <= at < 180]
    assert len(third_minute) <= 5


def test_no_time_is_shown_before_there_is_evidence() -> None:
    run = a_run([60.0] * 10)
    times = shown(run)
    assert 60 < times[0].at < 200
    assert [each.left for each in shown(a_run([60.0] * 2))] == [0]  # at the end


def test_the_quick_ends_of_clips_do_not_tell_how_long_a_talk_takes() -> None:
    run = a_run([26.0] + [0.1] * 30, slots=8, seconds=[24.0] + [0.8] * 30)
    assert [each for each in shown(run) if each.at < run.end] == []


def test_a_conversion_that_takes_longer_than_expected_never_shows_zero() -> None:
    run = a_run([10.0] * 8, slots=1, seconds=[10.0] * 7 + [40.0])
    late = [each for each in shown(run) if 80 < each.at < run.end]
    assert len(late) < 20
    assert all(each.left >= 0.4 for each in late)


def test_files_that_are_not_sent_yet_are_work_left() -> None:
    forecast = Forecast()
    forecast.expect([1.0] * 100, uploads=[], now=0.0)
    forecast.note_wave([1.0] * 20, files=20, now=1.0)
    for tenth in range(101):
        forecast.observe(1 + tenth / 10, started=tenth // 10 + 1, ended=tenth // 10)
    assert forecast.seconds_left() == pytest.approx(90, abs=5)


def test_files_that_are_refused_are_no_work() -> None:
    forecast = Forecast()
    forecast.expect([3.0, 2.0, 1.0], uploads=[], now=0.0)
    forecast.note_wave([3.0, 1.0], files=3, now=1.0)
    assert list(forecast.sending.works) == [3.0, 1.0]
    assert forecast.sending.is_closed


def test_a_second_attempt_is_work_left_at_the_speed_of_the_first() -> None:
    forecast = Forecast()
    forecast.expect([1.0] * 20, uploads=[], now=0.0)
    forecast.note_wave([1.0] * 20, files=20, now=0.0)
    for tenth in range(1, 402):
        forecast.observe(tenth / 10, started=min(20, tenth // 20 + 1), ended=tenth // 20)
    assert forecast.seconds_left() == 0
    forecast.expect([5.0], uploads=[], now=50.0)
    forecast.note_wave([5.0], files=1, now=50.0)
    forecast.observe(50.5, started=21, ended=20)
    assert forecast.seconds_left() == pytest.approx(10, abs=1)


@given(st.lists(st.tuples(st.integers(-1, 9), st.integers(-1, 9), st.floats(0, 30))))
def test_no_counts_break_the_forecast(counts: list[tuple[int, int, float]]) -> None:
    """Batch's counts may go back: evictions return conversions, and Batch corrects itself."""
    forecast, now = Forecast(), 0.0
    forecast.expect([1.0] * 8, uploads=[], now=now)
    for running, ended, seconds in counts:
        now += seconds
        forecast.observe(now, started=running + ended, ended=ended)
        left = forecast.seconds_left()
        assert left is None or left >= 0
        assert forecast.overdue_seconds() >= 0


def converting_equal_files() -> tuple[Forecast, float]:
    """Return a forecast of a run on 20 slots with work for some minutes, and its time left."""
    run = a_run([7.0] * 1000, slots=20)
    forecast = next(each for at, each in run.polls() if at > 60)
    return forecast, forecast.seconds_left() or 0


@pytest.mark.parametrize("ends", [0, 3])
def test_after_an_eviction_the_time_left_is_that_of_the_slots_that_are_left(ends: int) -> None:
    forecast, before = converting_equal_files()
    ended, now = forecast.ended + ends, forecast.observed + 1
    forecast.observe(now, started=ended + 10, ended=ended)
    assert forecast.seconds_left() == pytest.approx(2 * before, rel=0.05)
    forecast.observe(now + 1, started=ended + 20, ended=ended)  # other nodes have come
    assert forecast.seconds_left() == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("ends", [0, 3])
def test_no_time_is_shown_while_evictions_have_left_no_node(ends: int) -> None:
    forecast, before = converting_equal_files()
    ended, now = forecast.ended + ends, forecast.observed + 1
    for later in range(3):
        forecast.observe(now + later, started=ended, ended=ended)
        assert forecast.seconds_left() is None
    forecast.observe(now + 3, started=ended + 20, ended=ended)  # other nodes have come
    assert forecast.seconds_left() == pytest.approx(before, rel=0.05)


works = st.lists(st.floats(0.1, 50), max_size=300).map(lambda found: sorted(found, reverse=True))


@given(st.lists(st.floats(0, 50), min_size=1, max_size=9), works)
def test_the_last_end_is_that_of_a_schedule_of_single_files(
    slots: list[float], works: list[float]
) -> None:
    ends = sorted(slots)
    for work in works:
        ends = sorted([ends[0] + work, *ends[1:]])
    assert last_end(slots, works) == pytest.approx(ends[-1], rel=0.05)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=9), st.floats(0, 100))
def test_work_that_can_be_divided_fills_the_slots_that_are_free_first(
    slots: list[float], work: float
) -> None:
    level = filled(slots, work)
    assert math.fsum(level) == pytest.approx(math.fsum(slots) + work)
    assert max(level) == pytest.approx(max([*slots, min(level)]))


def test_polls_that_see_nothing_show_nothing() -> None:
    run = replace(few_files(), boot_seconds=60.0)
    assert all(forecast.seconds_left() is None for at, forecast in run.polls() if at < 60)
