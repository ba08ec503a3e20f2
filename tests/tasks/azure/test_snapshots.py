"""Observations of a pool, on the local Batch service."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from azure.batch import BatchClient, models
from records import NOW, a_ticket

from tasks.azure.autoscale import EVALUATION, MINUTE, NO_NODES
from tasks.azure.clients import batch_client
from tasks.azure.snapshots import (
    Snapshot,
    note_evaluation,
    resize_errors,
    survey,
    unevaluated_minutes,
)
from tasks.models import Ticket

Create = Callable[..., models.BatchPool]
EMPTY = Snapshot(seconds_left=60)
OWN = a_ticket(now=NOW)
SHARED = replace(OWN, owns_pool=False)


@pytest.fixture
def create(batch: BatchClient) -> Iterator[Create]:
    """Return a function that creates an empty pool. The pools are deleted after the test."""
    names: list[str] = []

    def create_pool(**scaling: object) -> models.BatchPool:
        names.append(f"snapshots-{uuid.uuid4().hex}")
        image = models.BatchVmImageReference(
            publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
        )
        machine = models.VirtualMachineConfiguration(
            image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
        )
        options = models.BatchPoolCreateOptions(
            id=names[-1],
            vm_size="Standard_D2ds_v5",
            virtual_machine_configuration=machine,
            **scaling,  # type: ignore[arg-type]
        )
        batch.create_pool(options)
        return batch.get_pool(names[-1])

    yield create_pool
    for name in names:
        batch.begin_delete_pool(name)


def scaled_every(interval: timedelta) -> dict[str, object]:
    return {
        "enable_auto_scale": True,
        "auto_scale_formula": NO_NODES,
        "auto_scale_evaluation_interval": interval,
    }


@pytest.mark.parametrize("interval_minutes", [5, 15])
def test_a_formula_is_overdue_after_two_missed_evaluations(
    create: Create, interval_minutes: int
) -> None:
    interval = interval_minutes * MINUTE
    pool = create(**scaled_every(interval))
    assert pool.auto_scale_run
    evaluated_at = pool.auto_scale_run.timestamp
    assert unevaluated_minutes(pool, now=evaluated_at + 2 * interval) == 0
    late = 2 * interval + 2 * MINUTE
    assert unevaluated_minutes(pool, now=evaluated_at + late) == late / MINUTE


def test_a_formula_that_was_never_evaluated_is_overdue(create: Create) -> None:
    pool = create(**scaled_every(EVALUATION))
    pool.auto_scale_run = None
    assert pool.creation_time
    assert unevaluated_minutes(pool, now=pool.creation_time + 12 * MINUTE) == 12


def test_a_pool_without_a_formula_is_never_overdue(create: Create) -> None:
    pool = create(target_dedicated_nodes=0)
    assert pool.creation_time
    assert unevaluated_minutes(pool, now=pool.creation_time + timedelta(days=1)) == 0


async def test_a_pool_is_also_observed_while_its_nodes_work_once_its_formula_can_be_overdue(
    create: Create,
) -> None:
    pool = create(target_dedicated_nodes=1)
    ticket = a_ticket(pool_id=pool.id)
    converting = Snapshot(seconds_left=60, running=1)
    async with batch_client() as client:
        while not (early := await survey(client, ticket, converting)).good_nodes:
            pass
        later = await survey(client, ticket, replace(converting, elapsed_seconds=601))
    assert (early.is_steady, later.is_steady) == (False, True)


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
