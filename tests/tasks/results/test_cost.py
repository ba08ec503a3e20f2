from datetime import timedelta

import pytest
from records import NOW, a_conversion, a_pool

from tasks.media.expected_work import expected_seconds_of_work
from tasks.media.presets import PRESETS
from tasks.models import FileResult, NodeLife, Span
from tasks.results.cost import estimate, paid_hours, share_cost

HOUR = timedelta(hours=1)


def a_node(*outages: Span, **values: object) -> NodeLife:
    given = {"allocated_at": NOW, "seen_at": NOW, "outages": outages}
    return NodeLife("n", "spot", **(given | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (a_node(), 4),
        (a_node(allocated_at=NOW - HOUR), 4),  # in a shared pool, before the run
        (a_node(allocated_at=NOW + HOUR), 3),
        (a_node(gone_at=NOW + HOUR), 1),
        (a_node(Span("evicted", NOW + HOUR, None)), 1),
        (a_node(Span("evicted", NOW + HOUR, NOW + 2 * HOUR)), 3),
        (a_node(Span("unusable", NOW + HOUR, None)), 4),
        (a_node(Span("evicted", NOW - 2 * HOUR, NOW - HOUR), allocated_at=NOW - 3 * HOUR), 4),
        (a_node(allocated_at=NOW + 9 * HOUR), 0),  # by a clock that is fast
    ],
)
def test_a_node_is_billed_while_it_exists_and_is_not_evicted(
    node: NodeLife, expected: float
) -> None:
    assert paid_hours([node], since=NOW, now=NOW + 4 * HOUR) == expected
    assert paid_hours([node, node], since=NOW, now=NOW + 4 * HOUR) == 2 * expected


def a_file(seconds: float | None) -> FileResult:
    return FileResult("a.mp4", "mp3", "a.mp3", "converted", seconds=seconds)


def test_each_file_has_its_share_of_the_cost_of_all_nodes() -> None:
    files = share_cost([a_file(1), a_file(3), a_file(None)], cost=2)
    assert [file.cost for file in files] == [0.5, 1.5, None]


@pytest.mark.parametrize(("seconds", "cost"), [(1, None), (None, 2)])
def test_without_a_price_or_work_no_file_has_a_cost(
    seconds: float | None, cost: float | None
) -> None:
    assert [file.cost for file in share_cost([a_file(seconds)], cost=cost)] == [None]


def test_the_estimate_has_boots_and_conversions_on_all_slots() -> None:
    audio = [a_conversion(seconds=3600 * 40)] * 4
    work_hours = sum(map(expected_seconds_of_work, audio)) / 3600
    found = estimate(audio, nodes=12, pool=a_pool(), price_per_node_hour=0.5)
    assert found.node_hours == pytest.approx(1 + work_hours / 2, abs=0.01)
    assert found.cost == pytest.approx(found.node_hours / 2, abs=0.01)
    assert found.basis == (
        "5 minutes to boot for each of 12 nodes;"
        f" {work_hours * 60:,.1f} minutes of conversion on one vCPU;"
        " 3.5 s until Batch starts each file; waiting for uploads not included"
    )


def test_the_estimate_for_short_files_has_the_time_until_batch_starts_them() -> None:
    clips = [a_conversion(seconds=4)] * 18_000
    hours = {
        slots: estimate(
            clips, nodes=0, pool=a_pool(slots_per_node=slots), price_per_node_hour=0
        ).node_hours
        for slots in (2, 8)
    }
    assert hours[2] == pytest.approx(
        18_000 * (3.5 + expected_seconds_of_work(clips[0])) / 7200, 0.01
    )
    assert hours[8] == pytest.approx(hours[2] / 4, 0.01)


def test_without_a_price_the_estimate_has_no_cost() -> None:
    found = estimate([a_conversion(seconds=60)], nodes=1, pool=a_pool(), price_per_node_hour=0)
    assert found.cost is None


def test_the_estimate_says_which_lengths_come_from_sizes() -> None:
    webm = PRESETS["webm"]
    video = [a_conversion(preset=webm, seconds=1800), a_conversion(preset=webm)]
    found = estimate(video, nodes=0, pool=a_pool(slots_per_node=1), price_per_node_hour=0)
    assert "the length of 1 file estimated from the size" in found.basis
