"""What each node did when: activities, slots and batch tasks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import a_node, a_span, a_task_on_node, a_timeline, at

from tasks.models import BatchResult, Span
from tasks.results.lanes import RANKS, Period, resolve_periods
from tasks.results.timeline import Timeline


def activities(found: Timeline, lane: int = 0) -> list[tuple[str, float, float]]:
    return [(p.activity, p.start, p.end) for p in found.lanes[lane].periods]


def test_a_node_boots_runs_its_start_task_converts_and_idles() -> None:
    found = a_timeline(
        nodes=[a_node()], batch_results=[a_task_on_node("a", 52, 70), a_task_on_node("b", 60, 80)]
    )
    assert activities(found) == [
        ("boot", 2, 32),
        ("start_task", 32, 50),
        ("idle", 50, 52),
        ("converting", 52, 80),
        ("idle", 80, 100),
    ]
    assert not found.lanes[0].is_gone


@pytest.mark.parametrize(("released", "ends"), [([a_span("release", 84, 86)], 86), ([], 90)])
def test_a_node_is_billed_until_its_release_or_the_end_of_cleanup(
    released: list[Span], ends: float
) -> None:
    later = [a_span("cleanup", 88, 90), a_span("report", 90, 95)]
    found = a_timeline(nodes=[a_node()], spans=[*released, *later])
    assert found.lanes[0].end == ends
    assert found.seconds == 100


def test_an_evicted_node_is_not_billed_and_boots_again() -> None:
    again = (a_span("start task", 32, 50), a_span("start task", 75, 85))
    node = a_node(start_tasks=again, outages=(a_span("evicted", 60, 70),))
    found = a_timeline(nodes=[node], batch_results=[a_task_on_node("a", 86, 96)])
    assert activities(found)[2:] == [
        ("idle", 50, 60),
        ("evicted", 60, 70),
        ("boot", 70, 75),
        ("start_task", 75, 85),
        ("idle", 85, 86),
        ("converting", 86, 96),
        ("idle", 96, 100),
    ]
    assert found.node_seconds["evicted"] == 10
    assert found.converting_share == pytest.approx(10 / (98 - 10))


def test_an_unseen_restart_counts_as_a_boot_since_the_last_file() -> None:
    again = (a_span("start task", 32, 50), a_span("start task", 75, 85))
    found = a_timeline(
        nodes=[a_node(start_tasks=again)], batch_results=[a_task_on_node("a", 52, 60)]
    )
    assert activities(found)[2:] == [
        ("idle", 50, 52),
        ("converting", 52, 60),
        ("boot", 60, 75),
        ("start_task", 75, 85),
        ("idle", 85, 100),
    ]


def test_a_node_that_disappears_ends_there_and_is_gone() -> None:
    found = a_timeline(nodes=[a_node(gone_at=at(60))])
    assert (found.lanes[0].end, found.lanes[0].is_gone) == (60, True)


def test_a_node_that_disappears_after_its_release_is_not_gone() -> None:
    found = a_timeline(nodes=[a_node(gone_at=at(90))], spans=[a_span("release", 84, 86)])
    assert (found.lanes[0].end, found.lanes[0].is_gone) == (86, False)


def test_a_node_that_never_gets_ready_boots_until_the_end() -> None:
    found = a_timeline(nodes=[a_node(ready_at=None, start_tasks=())])
    assert activities(found) == [("boot", 2, 100)]


def test_a_failed_start_task_makes_the_node_unusable() -> None:
    node = a_node(ready_at=None, outages=(a_span("unusable", 50, None),))
    assert activities(a_timeline(nodes=[node]))[-1] == ("unusable", 50, 100)


def test_files_that_overlap_are_in_different_slots() -> None:
    batch_results = [
        a_task_on_node("a", 52, 70),
        a_task_on_node("b", 52, 60),
        a_task_on_node("c", 60, 75),
        a_task_on_node("d", 71, None),
    ]
    found = a_timeline(nodes=[a_node()], batch_results=batch_results)
    assert [(bar.key, bar.slot) for bar in found.lanes[0].bars] == [
        ("a", 0),
        ("b", 1),
        ("c", 1),
        ("d", 0),
    ]
    assert found.lanes[0].bars[-1].end == 100
    assert found.slot_share == pytest.approx((18 + 8 + 15 + 29) / (2 * 98))


def test_a_batch_task_that_never_started_is_in_no_lane() -> None:
    never = BatchResult("a", 1, "failed", code="TaskEnded")
    assert a_timeline(nodes=[a_node()], batch_results=[never]).lanes[0].bars == ()


MOMENTS = st.integers(0, 50)
CLAIMS = st.lists(st.tuples(st.sampled_from(RANKS), MOMENTS, MOMENTS))


@given(CLAIMS)
def test_a_node_has_exactly_one_activity_at_each_moment(claims: list[tuple[Any, int, int]]) -> None:
    periods = [Period(name, min(a, b), max(a, b)) for name, a, b in claims]
    resolved = resolve_periods([*periods, Period("idle", 10, 40)], start=10, end=40)
    edges = [10, *(period.end for period in resolved)]
    assert [period.start for period in resolved] == edges[:-1]
    assert edges[-1] == 40
    for moment in range(10, 40):
        middle = moment + 0.5
        (activity,) = {p.activity for p in resolved if p.start < middle < p.end}
        claimed = {p.activity for p in periods if p.start < middle < p.end} | {"idle"}
        assert activity == min(claimed, key=RANKS.index)
