"""Pools over hours, on a separate local Batch service for each test. Its clock runs faster."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.rest import HttpRequest
from own_service import KEY, running_service
from records import a_ticket

from tasks.azure.clients import batch_client
from tasks.azure.nodes import Roster
from tasks.azure.tags import read_tags
from tasks.completion import watch_completion
from tasks.errors import PoolError
from tasks.models import Ticket
from tasks.parameters import Node, Pool
from tasks.pool import check_formula, make_pool, warm_pool_id
from tasks.results.listeners import listening
from tasks.results.progress import Tally

PATIENCE_SECONDS = 60
FAST = 600  # ten minutes per second
HOUR = timedelta(hours=1)
Order = Callable[..., None]


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Start a Batch service for the test, without storage."""
    with running_service(tmp_path) as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield settings


@pytest.fixture
def batch(account: dict[str, str]) -> Iterator[BatchClient]:
    """Yield a client of the Batch service."""
    key = AzureNamedKeyCredential(account["AZURE_BATCH_ACCOUNT"], KEY)
    with BatchClient(account["AZURE_BATCH_ENDPOINT"], key) as client:
        yield client


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.02)


def nodes(batch: BatchClient, pool_id: str) -> tuple[int, int]:
    """Return the numbers of Spot and dedicated nodes."""
    pool = batch.get_pool(pool_id)
    return pool.current_low_priority_nodes or 0, pool.current_dedicated_nodes or 0


def is_idle(batch: BatchClient, pool_id: str) -> bool:
    return [node.state for node in batch.list_nodes(pool_id)] == [models.BatchNodeState.IDLE]


def run_task(batch: BatchClient, pool_id: str, script: str = "true") -> str:
    """Submit one batch task in a new job."""
    job_id = f"job-{uuid.uuid4().hex}"
    info = models.BatchPoolInfo(pool_id=pool_id)
    batch.create_job(models.BatchJobCreateOptions(id=job_id, pool_info=info))
    command = f"/bin/sh -c '{script}'"
    batch.create_task(job_id, models.BatchTaskCreateOptions(id="k-1", command_line=command))
    return job_id


def is_done(batch: BatchClient, job_id: str) -> bool:
    return batch.get_task(job_id, "k-1").state == models.BatchTaskState.COMPLETED


async def test_a_runs_nodes_leave_at_the_deadline_even_without_the_run(
    batch: BatchClient, order: Order
) -> None:
    ticket = a_ticket()
    ticket = a_ticket(pool_id=ticket.pool_id, deadline=ticket.started_at + HOUR)
    await make_pool.fn(ticket, Pool(dedicated_nodes=1), files=5)
    wait_until(lambda: nodes(batch, ticket.pool_id) == (2, 1))
    order("clock", rate=FAST)
    wait_until(lambda: nodes(batch, ticket.pool_id) == (0, 0))
    found = batch.get_pool(ticket.pool_id)
    assert found.auto_scale_run
    assert found.auto_scale_run.error is None
    assert found.auto_scale_run.timestamp >= ticket.deadline


async def test_dedicated_nodes_replace_missing_spot_nodes_until_those_come(
    batch: BatchClient, order: Order
) -> None:
    ticket = a_ticket()
    ticket = a_ticket(pool_id=ticket.pool_id, deadline=ticket.started_at + 100 * HOUR)
    order("resize", code="AccountSpotCoreQuotaReached")
    await make_pool.fn(ticket, Pool(spot_nodes=2, fallback_minutes=10), files=9)
    order("clock", rate=FAST)
    wait_until(lambda: nodes(batch, ticket.pool_id) == (0, 2))
    replaced = batch.get_pool(ticket.pool_id).auto_scale_run
    assert replaced
    assert replaced.timestamp - ticket.started_at >= timedelta(minutes=10)
    remove_faults(batch)
    order("clock", rate=FAST)
    wait_until(lambda: nodes(batch, ticket.pool_id) == (2, 0))


async def test_dedicated_nodes_replace_evicted_spot_nodes(batch: BatchClient, order: Order) -> None:
    ticket = a_ticket()
    ticket = a_ticket(pool_id=ticket.pool_id, deadline=ticket.started_at + 100 * HOUR)
    await make_pool.fn(ticket, Pool(spot_nodes=1, fallback_minutes=10), files=9)
    wait_until(lambda: is_idle(batch, ticket.pool_id))
    (node,) = batch.list_nodes(ticket.pool_id)
    order("evict", pool=ticket.pool_id, node=node.id, returnSeconds=None)
    order("clock", rate=FAST)
    wait_until(lambda: nodes(batch, ticket.pool_id) == (1, 1))  # Batch still lists an evicted node


def remove_faults(batch: BatchClient) -> None:
    address = "/_local/faults?api-version=2025-06-01"
    batch.send_request(HttpRequest("DELETE", address)).raise_for_status()


WARM = Pool(spot_nodes=2, keep_warm_minutes=20)


def a_warm_ticket(**values: object) -> Ticket:
    ticket = a_ticket()
    name = warm_pool_id(WARM, Node(), now=ticket.started_at)
    given = {"pool_id": name, "owns_pool": False, "deadline": ticket.started_at + HOUR}
    return a_ticket(**(given | values))


async def test_a_warm_pool_serves_later_runs_and_has_no_nodes_when_unused(
    batch: BatchClient, order: Order
) -> None:
    first = a_warm_ticket()
    await make_pool.fn(first, WARM, files=3)
    wait_until(lambda: nodes(batch, first.pool_id) == (2, 0))
    names = {node.id for node in batch.list_nodes(first.pool_id)}
    second = a_warm_ticket(deadline=first.deadline + HOUR)
    assert second.pool_id == first.pool_id
    await make_pool.fn(second, WARM, files=3)
    done = run_task(batch, second.pool_id)
    wait_until(lambda: is_done(batch, done))
    assert {node.id for node in batch.list_nodes(second.pool_id)} == names
    expires = (second.deadline + timedelta(minutes=20)).isoformat(timespec="seconds")
    assert read_tags(batch.get_pool(first.pool_id).metadata)["expires_at"] == expires
    order("clock", rate=FAST)
    wait_until(lambda: nodes(batch, first.pool_id) == (0, 0))
    late = run_task(batch, first.pool_id, "sleep 3")
    wait_until(lambda: is_done(batch, late))
    wait_until(lambda: nodes(batch, first.pool_id) == (0, 0))


async def test_a_warm_pools_last_node_leaves_in_the_promised_time(
    batch: BatchClient, order: Order
) -> None:
    ticket = a_warm_ticket()
    await make_pool.fn(ticket, WARM, files=1)
    job_id = run_task(batch, ticket.pool_id)
    wait_until(lambda: is_done(batch, job_id))
    info = batch.get_task(job_id, "k-1").execution_info
    assert info
    assert info.end_time
    order("clock", rate=FAST)
    wait_until(lambda: nodes(batch, ticket.pool_id) == (0, 0))
    found = batch.get_pool(ticket.pool_id)
    assert found.allocation_state_transition_time
    kept = found.allocation_state_transition_time - info.end_time
    assert timedelta(minutes=14) < kept <= timedelta(minutes=21)  # one second here is ten minutes


async def test_a_foreign_pool_with_the_name_of_a_warm_pool_is_refused(batch: BatchClient) -> None:
    ticket = a_warm_ticket()
    await make_pool.fn(ticket, WARM, files=1)
    batch.update_pool(ticket.pool_id, models.BatchPoolUpdateOptions(metadata=[]))
    with pytest.raises(PoolError, match="is not a warm pool of this project"):
        await make_pool.fn(ticket, WARM, files=1)


async def test_a_formula_that_batch_cannot_evaluate_is_refused(
    account: dict[str, str],
) -> None:
    assert account
    ticket = a_warm_ticket()
    await make_pool.fn(ticket, WARM, files=1)
    async with batch_client() as client:
        with pytest.raises(PoolError, match=r"cannot evaluate the formula .* 'nonsense' is not"):
            await check_formula(client, ticket.pool_id, "$TargetDedicatedNodes = nonsense;")


async def test_a_run_without_spot_nodes_continues_on_dedicated_nodes(
    batch: BatchClient, order: Order
) -> None:
    ticket = a_run(batch, "true", "true")
    order("resize", code="AccountSpotCoreQuotaReached")
    await make_pool.fn(ticket, Pool(spot_nodes=1, fallback_minutes=10), files=2)
    order("clock", rate=FAST)
    tally = Tally(files=2, submitted=2, is_closed=True)
    completion = await watch_completion.fn(ticket, tally, Roster(), has_fallback=True)
    assert completion.diagnosis is None
    assert [result.state for result in completion.batch_results] == ["succeeded"] * 2


async def test_at_the_limit_on_node_hours_running_files_are_finished_and_all_nodes_leave(
    batch: BatchClient, order: Order, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    ticket = a_run(batch, f"until test -e {gate}; do sleep 0.1; done", *["true"] * 3)
    await make_pool.fn(ticket, Pool(spot_nodes=1, slots_per_node=1), files=4)
    wait_until(lambda: batch.get_task(ticket.job_id, "k0-1").state == "running")
    tally = Tally(files=9, submitted=4)
    with listening(lambda _: gate.touch() if tally.is_stopped else None):
        completion = await watch_completion.fn(ticket, tally, Roster(), max_node_hours=1 / 3600)
    assert completion.diagnosis
    assert completion.diagnosis.code == "NodeHoursSpent"
    assert [(r.key, r.state) for r in completion.batch_results] == [("k0", "succeeded")]
    assert tally.is_stopped
    wait_until(lambda: nodes(batch, ticket.pool_id) == (0, 0))
    order("clock", rate=FAST)
    scaled = batch.get_pool(ticket.pool_id).auto_scale_run
    assert scaled
    wait_until(lambda: scaled_at(batch, ticket.pool_id) > scaled.timestamp + timedelta(minutes=10))
    assert nodes(batch, ticket.pool_id) == (0, 0)


def scaled_at(batch: BatchClient, pool_id: str) -> datetime:
    found = batch.get_pool(pool_id).auto_scale_run
    assert found
    return found.timestamp


def a_run(batch: BatchClient, *scripts: str) -> Ticket:
    """Return the ticket of a run with a job of these scripts. Its pool does not exist yet."""
    ticket = a_ticket()
    ticket = replace(ticket, deadline=ticket.started_at + 100 * HOUR)
    info = models.BatchPoolInfo(pool_id=ticket.pool_id)
    batch.create_job(models.BatchJobCreateOptions(id=ticket.job_id, pool_info=info))
    for number, script in enumerate(scripts):
        command = f"/bin/sh -c '{script}'"
        batch_task = models.BatchTaskCreateOptions(id=f"k{number}-1", command_line=command)
        batch.create_task(ticket.job_id, batch_task)
    return ticket
