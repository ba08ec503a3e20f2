from datetime import timedelta

import pytest
from records import NOW

from tasks.models import FileResult, NodeLife, Span
from tasks.results.cost import paid_hours, share_cost

HOUR = timedelta(hours=1)


def a_node(*outages: Span, **values: object) -> NodeLife:
    given = {"allocated_at": NOW, "seen_at": NOW, "outages": outages}
    return NodeLife("n", "spot", **(given | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (a_node(), 4),
        (a_node(allocated_at=NOW - HOUR), 4),  # a shared pool's, before the run began
        (a_node(allocated_at=NOW + HOUR), 3),
        (a_node(gone_at=NOW + HOUR), 1),
        (a_node(Span("evicted", NOW + HOUR, None)), 1),
        (a_node(Span("evicted", NOW + HOUR, NOW + 2 * HOUR)), 3),
        (a_node(Span("unusable", NOW + HOUR, None)), 4),
        (a_node(Span("evicted", NOW - 2 * HOUR, NOW - HOUR), allocated_at=NOW - 3 * HOUR), 4),
        (a_node(allocated_at=NOW + 9 * HOUR), 0),  # by a clock that is ahead
    ],
)
def test_a_node_is_paid_for_while_it_is_there_and_not_evicted(
    node: NodeLife, expected: float
) -> None:
    assert paid_hours([node], since=NOW, now=NOW + 4 * HOUR) == expected
    assert paid_hours([node, node], since=NOW, now=NOW + 4 * HOUR) == 2 * expected


def a_file(seconds: float | None) -> FileResult:
    return FileResult("a.mp4", "mp3", "a.mp3", "converted", seconds=seconds)


def test_each_file_bears_its_part_of_what_all_nodes_cost() -> None:
    files = share_cost([a_file(1), a_file(3), a_file(None)], cost=2)
    assert [file.cost for file in files] == [0.5, 1.5, None]


@pytest.mark.parametrize(("seconds", "cost"), [(1, None), (None, 2)])
def test_without_a_price_or_without_work_no_file_has_a_cost(
    seconds: float | None, cost: float | None
) -> None:
    assert [file.cost for file in share_cost([a_file(seconds)], cost=cost)] == [None]
