"""The formulas, evaluated by the local Batch service."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from records import NOW, a_pool, a_ticket

from local_azure.batch.autoscale import Scene, evaluate
from local_azure.batch.history import History
from tasks.azure.autoscale import NO_NODES, next_minute, scale_formula, until_deadline, while_warm
from tasks.parameters import Pool
from tasks.pool import demand

PAGE = (Path(__file__).parents[3] / "docs" / "pools-and-cost.md").read_text()
MINUTE = timedelta(minutes=1)
DEADLINE = NOW + 30 * MINUTE


def targets(
    formula: str,
    *,
    now: datetime,
    pending: float | Sequence[float] = 0,
    spot: int = 0,
    evicted: int = 0,
) -> tuple[int | None, int | None]:
    """Return the Spot and dedicated nodes after half an hour with these counts.

    `pending` is one number for all the time, or the numbers of each half minute, the latest last.
    """
    counts = (pending,) * 60 if isinstance(pending, float | int) else pending
    nodes = {"$CurrentLowPriorityNodes": spot, "$PreemptedNodeCount": evicted}
    history = History()
    for age, count in zip(reversed(range(len(counts))), counts, strict=True):
        history.add(now - age * MINUTE / 2, {**nodes, "$PendingTasks": count})
    present = {**nodes, "$PendingTasks": counts[-1] if counts else 0}
    found = evaluate(formula, Scene(now=now, present=present, history=history))
    assert found.deallocation == "taskcompletion"
    return found.spot, found.dedicated


def own_formula(nodes: int, pool: Pool, *, deadline: datetime = DEADLINE) -> str:
    return scale_formula(until_deadline(nodes, pool, deadline=deadline, now=NOW), pool, now=NOW)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(NOW, (3, 1)), (DEADLINE - MINUTE, (3, 1)), (DEADLINE, (0, 0)), (DEADLINE + MINUTE, (0, 0))],
)
def test_a_run_with_enough_files_has_its_nodes_until_the_deadline(
    now: datetime, expected: tuple[int, int]
) -> None:
    formula = own_formula(4, a_pool(spot_nodes=5, dedicated_nodes=1))
    assert targets(formula, now=now, pending=7) == expected


def test_a_run_has_its_nodes_from_the_start_before_its_first_file_is_uploaded() -> None:
    formula = own_formula(4, a_pool())
    assert targets(formula, now=NOW, pending=()) == (4, 0)
    assert targets(formula, now=NOW + 19 * MINUTE, pending=0) == (4, 0)
    assert targets(formula, now=NOW + 20 * MINUTE, pending=0) == (0, 0)


@pytest.mark.parametrize(("pending", "expected"), [(0, 0), (1, 1), (2, 1), (3, 2), (8, 4), (99, 5)])
def test_after_the_start_a_run_has_the_nodes_that_its_pending_files_need(
    pending: int, expected: int
) -> None:
    formula = own_formula(5, a_pool(slots_per_node=2))
    assert targets(formula, now=NOW + 25 * MINUTE, pending=pending) == (expected, 0)


def test_nodes_stay_during_a_pause_of_ten_minutes_between_waves() -> None:
    """The upload of the second wave takes ten minutes, in which no file is pending."""
    formula = own_formula(4, a_pool(), deadline=NOW + 500 * MINUTE)
    waves = [8] * 50 + [0] * 20 + [8] * 50
    for half_minutes in range(50, len(waves)):
        now = NOW + half_minutes * MINUTE / 2
        assert targets(formula, now=now, pending=waves[: half_minutes + 1]) == (4, 0)


@pytest.mark.parametrize(("minutes", "expected"), [(19, 4), (20.5, 0), (25, 0)])
def test_nodes_leave_when_no_file_was_pending_for_twenty_minutes(
    minutes: float, expected: int
) -> None:
    formula = own_formula(4, a_pool(), deadline=NOW + 500 * MINUTE)
    samples = [8] * 100 + [0] * int(2 * minutes)
    assert targets(formula, now=NOW + 90 * MINUTE, pending=samples) == (expected, 0)


def test_without_any_sample_a_run_keeps_its_nodes_until_the_deadline() -> None:
    formula = own_formula(4, a_pool(slots_per_node=3))
    assert targets(formula, now=NOW + 25 * MINUTE, pending=()) == (4, 0)
    assert targets(formula, now=DEADLINE, pending=()) == (0, 0)


@pytest.mark.parametrize("slots", [1, 2, 3, 7])
@pytest.mark.parametrize("dedicated", [0, 2, 50])
def test_every_file_gets_a_slot_although_batch_cuts_fractions(slots: int, dedicated: int) -> None:
    pool = a_pool(spot_nodes=100, dedicated_nodes=dedicated, slots_per_node=slots)
    own = own_formula(1, pool, deadline=NOW + 500 * MINUTE)
    warm = pool.model_copy(update={"keep_warm_minutes": 20})
    warm_formula = scale_formula(while_warm(1, warm, now=NOW), warm, now=NOW)
    for pending in range(2 * slots + 2):
        for formula in (own, warm_formula):
            spot, reserved = targets(formula, now=NOW + 60 * MINUTE, pending=pending)
            assert (spot or 0) + (reserved or 0) == -(-pending // slots)


def test_the_time_zone_of_a_deadline_does_not_matter() -> None:
    there = DEADLINE.astimezone(timezone(timedelta(hours=-5)))
    assert own_formula(4, a_pool(), deadline=there) == own_formula(4, a_pool())


@pytest.mark.parametrize(
    ("minutes", "nodes", "expected"),
    [
        (9, {"spot": 0}, (4, 0)),
        (10, {"spot": 0}, (4, 4)),
        (20, {"spot": 1}, (4, 0)),
        (20, {"spot": 4, "evicted": 3}, (4, 0)),
        (20, {"spot": 4, "evicted": 4}, (4, 4)),
        (30, {"spot": 0}, (0, 0)),
    ],
)
def test_dedicated_nodes_replace_spot_nodes_after_the_fallback_minutes(
    minutes: int, nodes: dict[str, int], expected: tuple[int, int]
) -> None:
    pool = a_pool(fallback_minutes=10)
    formula = own_formula(4, pool)
    assert targets(formula, now=NOW + minutes * MINUTE, pending=8, **nodes) == expected


def test_nodes_that_were_just_evicted_are_not_replaced() -> None:
    pool = a_pool(fallback_minutes=10)
    formula = own_formula(4, pool)
    history = History()
    for half_minutes in range(40):
        lost = 4 if half_minutes >= 30 else 0
        counts = {"$PreemptedNodeCount": lost, "$PendingTasks": 8}
        history.add(NOW + half_minutes * MINUTE / 2, counts)
    present = {"$PreemptedNodeCount": 4, "$CurrentLowPriorityNodes": 4, "$PendingTasks": 8}
    scene = Scene(now=NOW + 20 * MINUTE, present=present, history=history)
    assert evaluate(formula, scene).dedicated == 0


def test_nodes_without_samples_do_not_count_as_evicted() -> None:
    pool = a_pool(fallback_minutes=1)
    formula = own_formula(4, pool)
    history = History()
    history.add(NOW, {"$PreemptedNodeCount": 0, "$PendingTasks": 0})
    present = {"$PreemptedNodeCount": 0, "$CurrentLowPriorityNodes": 4, "$PendingTasks": 0}
    scene = Scene(now=NOW + 5 * MINUTE, present=present, history=history)
    assert evaluate(formula, scene).dedicated == 0


def test_without_fallback_minutes_spot_nodes_are_not_replaced() -> None:
    formula = own_formula(4, a_pool())
    assert targets(formula, now=NOW + 20 * MINUTE, pending=8, spot=0) == (4, 0)


@pytest.mark.parametrize(
    ("minutes", "pending", "expected"),
    [
        (0, 0, (3, 1)),  # immediately, before there are files
        (14, 0, (3, 1)),
        (15, 0, (0, 0)),  # five minutes early: Batch may evaluate five minutes late
        (15, 1, (0, 1)),
        (300, 5, (2, 1)),
        (300, 100, (3, 1)),
    ],
)
def test_a_warm_pool_has_the_nodes_that_its_files_need(
    minutes: int, pending: int, expected: tuple[int, int]
) -> None:
    pool = a_pool(spot_nodes=3, dedicated_nodes=1, keep_warm_minutes=20)
    formula = scale_formula(while_warm(4, pool, now=NOW), pool, now=NOW)
    assert targets(formula, now=NOW + minutes * MINUTE, pending=pending) == expected


def test_a_warm_pool_that_lost_its_nodes_gets_nodes_for_new_files() -> None:
    pool = a_pool(keep_warm_minutes=10)
    formula = scale_formula(while_warm(5, pool, now=NOW), pool, now=NOW)
    assert targets(formula, now=NOW + 60 * MINUTE, pending=0) == (0, 0)
    assert targets(formula, now=NOW + 60 * MINUTE, pending=10) == (5, 0)


def test_runs_that_start_in_the_same_minute_demand_the_same() -> None:
    times = [NOW + timedelta(seconds=seconds) for seconds in (1, 30, 60)]
    assert {next_minute(time) for time in times} == {NOW + MINUTE}
    assert next_minute(NOW) == NOW


@pytest.mark.parametrize(
    "pool", [a_pool(), a_pool(fallback_minutes=20), a_pool(keep_warm_minutes=60)]
)
def test_the_page_on_pools_shows_the_formulas_of_runs_as_they_are(pool: Pool) -> None:
    ticket = a_ticket(now=NOW, deadline=NOW + 480 * MINUTE)
    formula = scale_formula(demand(ticket, pool, files=10, now=NOW), pool, now=NOW)
    assert f"```text\n{formula}\n```" in PAGE


def test_the_page_on_pools_shows_the_formula_for_no_nodes_and_no_other_formulas() -> None:
    assert f"```text\n{NO_NODES}\n```" in PAGE
    # Three of runs, the one for no nodes, and that of pool.bicep, which has its own test.
    assert len(re.findall(r"^\$NodeDeallocationOption", PAGE, re.MULTILINE)) == 5
