"""Where the time went: activities of nodes, slots, shares and the longest path."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import NOW, a_ticket

from tasks.models import BatchResult, NodeLife, Span
from tasks.results.timeline import RANKS, Period, Record, Timeline, build_timeline, settle_periods

TICKET = a_ticket(now=NOW)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def span(name: str, start: float, end: float | None) -> Span:
    return Span(name, at(start), None if end is None else at(end))


def a_node(name: str = "n", **values: Any) -> NodeLife:
    """A node that booted from 2 to 32 and ran its start task from then to 50."""
    given_values = {
        "kind": "spot",
        "allocated_at": at(2),
        "seen_at": at(100),
        "ready_at": at(50),
        "start_tasks": (span("start task", 32, 50),),
    }
    return NodeLife(name, **(given_values | values))


def file(key: str, start: float, end: float | None, **values: Any) -> BatchResult:
    given_values = {"state": "running" if end is None else "succeeded", "node": "n", "attempt": 1}
    times = {"added_at": at(5), "started_at": at(start), "ended_at": end and at(end)}
    return BatchResult(key, **(given_values | times | values))


def timeline(*, until: float = 100, slots: int = 2, **record: Any) -> Timeline:
    return build_timeline(Record(**record), ticket=TICKET, slots=slots, now=at(until))


def activities(found: Timeline, lane: int = 0) -> list[tuple[str, float, float]]:
    return [(p.activity, p.start, p.end) for p in found.lanes[lane].periods]


def test_a_node_boots_runs_its_start_task_converts_and_idles() -> None:
    found = timeline(nodes=[a_node()], batch_results=[file("a", 52, 70), file("b", 60, 80)])
    assert activities(found) == [
        ("boot", 2, 32),
        ("start_task", 32, 50),
        ("idle", 50, 52),
        ("converting", 52, 80),
        ("idle", 80, 100),
    ]
    assert not found.lanes[0].is_gone


@pytest.mark.parametrize(("released", "ends"), [([span("release", 84, 86)], 86), ([], 90)])
def test_a_node_is_paid_for_until_it_is_released_or_cleanup_deletes_it(
    released: list[Span], ends: float
) -> None:
    later = [span("cleanup", 88, 90), span("report", 90, 95)]
    found = timeline(nodes=[a_node()], spans=[*released, *later])
    assert found.lanes[0].end == ends
    assert found.seconds == 100


def test_an_evicted_node_is_not_paid_for_and_boots_again() -> None:
    again = (span("start task", 32, 50), span("start task", 75, 85))
    node = a_node(start_tasks=again, outages=(span("evicted", 60, 70),))
    found = timeline(nodes=[node], batch_results=[file("a", 86, 96)])
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


def test_a_node_that_started_again_unseen_booted_since_its_last_file() -> None:
    again = (span("start task", 32, 50), span("start task", 75, 85))
    found = timeline(nodes=[a_node(start_tasks=again)], batch_results=[file("a", 52, 60)])
    assert activities(found)[2:] == [
        ("idle", 50, 52),
        ("converting", 52, 60),
        ("boot", 60, 75),
        ("start_task", 75, 85),
        ("idle", 85, 100),
    ]


def test_a_node_that_vanished_ends_there() -> None:
    found = timeline(nodes=[a_node(gone_at=at(60))])
    assert (found.lanes[0].end, found.lanes[0].is_gone) == (60, True)


def test_a_node_that_went_once_it_was_released_is_not_lost() -> None:
    found = timeline(nodes=[a_node(gone_at=at(90))], spans=[span("release", 84, 86)])
    assert (found.lanes[0].end, found.lanes[0].is_gone) == (86, False)


def test_a_node_that_never_got_ready_boots_to_the_end() -> None:
    found = timeline(nodes=[a_node(ready_at=None, start_tasks=())])
    assert activities(found) == [("boot", 2, 100)]


def test_a_start_task_that_failed_leaves_an_unusable_node() -> None:
    node = a_node(ready_at=None, outages=(span("unusable", 50, None),))
    assert activities(timeline(nodes=[node]))[-1] == ("unusable", 50, 100)


def test_files_that_overlap_are_in_slots_of_their_own() -> None:
    batch_results = [file("a", 52, 70), file("b", 52, 60), file("c", 60, 75), file("d", 71, None)]
    found = timeline(nodes=[a_node()], batch_results=batch_results)
    assert [(bar.key, bar.slot) for bar in found.lanes[0].bars] == [
        ("a", 0),
        ("b", 1),
        ("c", 1),
        ("d", 0),
    ]
    assert found.lanes[0].bars[-1].end == 100
    assert found.slot_share == pytest.approx((18 + 8 + 15 + 29) / (2 * 98))


def test_what_never_had_its_turn_is_in_no_lane() -> None:
    never = BatchResult("a", 1, "failed", code="TaskEnded")
    assert timeline(nodes=[a_node()], batch_results=[never]).lanes[0].bars == ()


def test_of_a_shared_pool_only_nodes_that_worked_for_this_run_count() -> None:
    shared = a_ticket(now=NOW, owns_pool=False)
    nodes = [a_node("n", allocated_at=at(-3600)), a_node("other")]
    record = Record(nodes=nodes, batch_results=[file("a", 52, 70)])
    found = build_timeline(record, ticket=shared, slots=2, now=at(100))
    assert [(lane.node, lane.start) for lane in found.lanes] == [("n", 0)]


def test_a_run_without_nodes_has_no_shares() -> None:
    found = timeline()
    assert (found.converting_share, found.slot_share, found.path) == (None, None, ())


MOMENTS = st.integers(0, 50)
CLAIMS = st.lists(st.tuples(st.sampled_from(RANKS), MOMENTS, MOMENTS))


@given(CLAIMS)
def test_each_moment_of_a_node_has_one_activity(claims: list[tuple[Any, int, int]]) -> None:
    periods = [Period(name, min(a, b), max(a, b)) for name, a, b in claims]
    settled = settle_periods([*periods, Period("idle", 10, 40)], start=10, end=40)
    edges = [10, *(period.end for period in settled)]
    assert [period.start for period in settled] == edges[:-1]
    assert edges[-1] == 40
    for moment in range(10, 40):
        middle = moment + 0.5
        (activity,) = {p.activity for p in settled if p.start < middle < p.end}
        claimed = {p.activity for p in periods if p.start < middle < p.end} | {"idle"}
        assert activity == min(claimed, key=RANKS.index)


STAGES = [
    span("plan", 0, 1),
    span("pool", 1, 2),
    span("job", 2, 3),
    span("upload wave 1", 3, 4),
    span("submit wave 1", 4, 5),
    span("upload wave 2", 5, 54),
    span("submit wave 2", 54, 55),
    span("completion", 3, 82),
    span("outputs", 82, 83),
    span("cleanup", 83, 84),
]


def path(**record: Any) -> list[str]:
    found = timeline(spans=STAGES, until=84, **record).path
    assert all(one.end <= other.start for one, other in pairwise(found))
    return [step.name if step.kind in ("stage", "file") else step.kind for step in found]


def test_the_longest_path_leads_over_slow_nodes() -> None:
    batch_results = [file("a", 50, 60), file("b", 50, 55), file("c", 60, 80)]
    assert path(nodes=[a_node()], batch_results=batch_results) == [
        "plan",
        "pool",
        "boot",
        "start_task",
        "a-1",
        "c-1",
        "completion",
        "outputs",
        "cleanup",
    ]


def test_the_longest_path_leads_over_slow_uploads() -> None:
    batch_results = [file("a", 50, 52), file("b", 55.5, 80, added_at=at(54.9))]
    assert path(nodes=[a_node()], batch_results=batch_results) == [
        *("plan", "pool", "job", "upload wave 1", "submit wave 1", "upload wave 2"),
        *("submit wave 2", "b-1", "completion", "outputs", "cleanup"),
    ]


def test_the_longest_path_leads_over_an_eviction() -> None:
    starts = (span("start task", 32, 50), span("start task", 65, 70))
    node = a_node(start_tasks=starts, outages=(span("evicted", 52, 60),))
    assert path(nodes=[node], batch_results=[file("a", 71, 80)]) == [
        *("plan", "pool", "boot", "start_task", "evicted", "boot", "start_task", "a-1"),
        *("completion", "outputs", "cleanup"),
    ]


def test_without_any_node_the_watcher_itself_is_on_the_path() -> None:
    assert path() == ["plan", "pool", "job", "completion", "outputs", "cleanup"]


def test_the_time_after_the_last_file_is_the_watchers() -> None:
    found = timeline(
        spans=STAGES, until=84, nodes=[a_node()], batch_results=[file("a", 50, 80)]
    ).path
    (watching,) = (step for step in found if step.name == "completion")
    assert (watching.start, watching.end) == (80, 82)
