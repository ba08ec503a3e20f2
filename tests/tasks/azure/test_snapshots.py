from dataclasses import replace
from datetime import timedelta
from typing import Any

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


REFUSED = replace(EMPTY, is_steady=True, resize_codes=("AccountCoreQuotaReached",))


def evaluated(*seconds: float, start: Snapshot = REFUSED) -> Snapshot:
    """Return the snapshot after evaluations of the formula at these times."""
    for each in seconds:
        run = models.AutoScaleRun({"timestamp": (NOW + timedelta(seconds=each)).isoformat()})
        start = note_evaluation(start, run)
    return start


def test_each_evaluation_after_which_a_quota_prevented_nodes_is_counted_once() -> None:
    assert evaluated(0, 0, 0).quota_refusals == 1
    assert evaluated(0, 300, 300, 600).quota_refusals == 3


def test_an_evaluation_is_counted_when_its_resize_has_ended() -> None:
    resizing = replace(evaluated(0), is_steady=False, resize_codes=())
    assert evaluated(300, start=resizing) == resizing
    ended = replace(resizing, is_steady=True, resize_codes=REFUSED.resize_codes)
    assert evaluated(300, start=ended).quota_refusals == 2


@pytest.mark.parametrize(
    "after", [{"nodes": 1}, {"resize_codes": ()}, {"resize_codes": ("AllocationFailed",)}]
)
def test_the_count_starts_again_after_nodes_or_another_error(after: Any) -> None:
    assert evaluated(600, start=replace(evaluated(0, 300), **after)).quota_refusals == 0


def test_a_pool_without_a_formula_has_no_evaluations() -> None:
    assert note_evaluation(REFUSED, None) == REFUSED
