"""The formulas, evaluated by the local Batch service."""

from datetime import datetime, timedelta, timezone

import pytest
from records import NOW

from local_azure.batch.autoscale import Scene, evaluate
from local_azure.batch.history import History
from tasks.azure.autoscale import scale_formula, until_deadline, while_warm
from tasks.parameters import Pool

MINUTE = timedelta(minutes=1)
DEADLINE = NOW + 30 * MINUTE


def targets(
    formula: str, *, now: datetime, pending: int = 0, spot: int = 0, evicted: int = 0
) -> tuple[int | None, int | None]:
    """Return the Spot and dedicated nodes if the counts were the same for half an hour."""
    present = {
        "$PendingTasks": pending,
        "$CurrentLowPriorityNodes": spot,
        "$PreemptedNodeCount": evicted,
    }
    history = History()
    for half_minutes in range(60):
        history.add(now - 30 * MINUTE + half_minutes * MINUTE / 2, present)
    found = evaluate(formula, Scene(now=now, present=present, history=history))
    assert found.deallocation == "taskcompletion"
    return found.spot, found.dedicated


@pytest.mark.parametrize(
    ("now", "expected"),
    [(NOW, (3, 1)), (DEADLINE - MINUTE, (3, 1)), (DEADLINE, (0, 0)), (DEADLINE + MINUTE, (0, 0))],
)
def test_a_run_has_its_nodes_until_the_deadline(now: datetime, expected: tuple[int, int]) -> None:
    pool = Pool(spot_nodes=5, dedicated_nodes=1)
    formula = scale_formula(until_deadline(4, deadline=DEADLINE), pool, now=NOW)
    assert targets(formula, now=now) == expected


def test_the_time_zone_of_a_deadline_does_not_matter() -> None:
    there = DEADLINE.astimezone(timezone(timedelta(hours=-5)))
    assert until_deadline(4, deadline=there) == until_deadline(4, deadline=DEADLINE)


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
    pool = Pool(fallback_minutes=10)
    formula = scale_formula(until_deadline(4, deadline=DEADLINE), pool, now=NOW)
    assert targets(formula, now=NOW + minutes * MINUTE, **nodes) == expected


def test_nodes_that_were_just_evicted_are_not_replaced() -> None:
    pool = Pool(fallback_minutes=10)
    formula = scale_formula(until_deadline(4, deadline=DEADLINE), pool, now=NOW)
    history = History()
    for half_minutes in range(40):
        lost = 4 if half_minutes >= 30 else 0
        history.add(NOW + half_minutes * MINUTE / 2, {"$PreemptedNodeCount": lost})
    present = {"$PreemptedNodeCount": 4, "$CurrentLowPriorityNodes": 4}
    scene = Scene(now=NOW + 20 * MINUTE, present=present, history=history)
    assert evaluate(formula, scene).dedicated == 0


def test_nodes_without_samples_do_not_count_as_evicted() -> None:
    pool = Pool(fallback_minutes=1)
    formula = scale_formula(until_deadline(4, deadline=DEADLINE), pool, now=NOW)
    history = History()
    history.add(NOW, {"$PreemptedNodeCount": 0})
    present = {"$PreemptedNodeCount": 0, "$CurrentLowPriorityNodes": 4}
    scene = Scene(now=NOW + 5 * MINUTE, present=present, history=history)
    assert evaluate(formula, scene).dedicated == 0


def test_without_fallback_minutes_spot_nodes_are_not_replaced() -> None:
    formula = scale_formula(until_deadline(4, deadline=DEADLINE), Pool(), now=NOW)
    assert targets(formula, now=NOW + 20 * MINUTE, spot=0) == (4, 0)


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
    pool = Pool(spot_nodes=3, dedicated_nodes=1, keep_warm_minutes=20)
    formula = scale_formula(while_warm(4, pool, now=NOW), pool, now=NOW)
    assert targets(formula, now=NOW + minutes * MINUTE, pending=pending) == expected


def test_a_warm_pool_that_lost_its_nodes_gets_nodes_for_new_files() -> None:
    pool = Pool(keep_warm_minutes=10)
    formula = scale_formula(while_warm(5, pool, now=NOW), pool, now=NOW)
    assert targets(formula, now=NOW + 60 * MINUTE, pending=0) == (0, 0)
    assert targets(formula, now=NOW + 60 * MINUTE, pending=10) == (5, 0)
