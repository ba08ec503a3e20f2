from dataclasses import replace
from datetime import timedelta

import pytest
from azure.batch import models
from records import NOW, a_ticket

from tasks.azure.snapshots import Snapshot, note_evaluation, resize_errors
from tasks.models import Ticket

EMPTY = Snapshot(seconds_left=60)
OWN = a_ticket(now=NOW)
SHARED = replace(OWN, owns_pool=False)


def a_pool(seconds: float) -> models.BatchPool:
    """Return a pool whose last resize ended, with an error, this long after the run's start."""
    time = (NOW + timedelta(seconds=seconds)).isoformat()
    errors = [{"code": "AllocationTimedout"}]
    return models.BatchPool({"allocationStateTransitionTime": time, "resizeErrors": errors})


@pytest.mark.parametrize(
    ("ticket", "seconds", "count"), [(SHARED, -1, 0), (SHARED, 1, 1), (OWN, -1, 1), (OWN, 1, 1)]
)
def test_a_shared_pools_resize_errors_count_only_if_they_are_from_the_run(
    ticket: Ticket, seconds: float, count: int
) -> None:
    assert len(resize_errors(a_pool(seconds), ticket)) == count


def evaluated(*seconds: float, ticket: Ticket = OWN, start: Snapshot = EMPTY) -> Snapshot:
    for each in seconds:
        run = models.AutoScaleRun({"timestamp": (NOW + timedelta(seconds=each)).isoformat()})
        start = note_evaluation(start, run, ticket)
    return start


def test_each_evaluation_of_the_formula_of_an_empty_pool_is_counted_once() -> None:
    assert evaluated().empty_evaluations == 0
    assert evaluated(0, 0, 0).empty_evaluations == 1
    assert evaluated(0, 300, 300, 600).empty_evaluations == 3


def test_evaluations_before_the_run_or_with_nodes_are_not_counted() -> None:
    assert evaluated(-200, 100, ticket=SHARED).empty_evaluations == 1
    assert evaluated(0, 300, start=replace(EMPTY, nodes=1)).empty_evaluations == 0


def test_a_pool_without_a_formula_has_no_evaluations() -> None:
    assert note_evaluation(EMPTY, None, OWN) == EMPTY
