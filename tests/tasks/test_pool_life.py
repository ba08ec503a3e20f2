"""Pools over hours, on a separate local Batch service for each test. Its clock runs faster."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import own_service
import pytest
from azure.batch import BatchClient, models
from azure.core.rest import HttpRequest
from records import a_pool, a_ticket

from tasks.azure.autoscale import NO_NODES
from tasks.azure.clients import batch_client
from tasks.azure.nodes import Roster
from tasks.azure.tags import read_tags, tags
from tasks.cleanup import clean_up, release_nodes
from tasks.completion import watch_completion
from tasks.errors import PoolError
from tasks.models import Ticket
from tasks.parameters import Cleanup, Node
from tasks.pool import check_formula, make_pool, warm_pool_id
from tasks.results.listeners import listening
from tasks.results.progress import Tally

PATIENCE_SECONDS = 60
FAST = 600  # ten minutes per second
SLOWER = 300
HOUR = timedelta(hours=1)
Order = Callable[..., None]

account, batch = own_service.account, own_service.batch


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
    limit = models.BatchJobConstraints(max_wall_clock_time=HOUR)
    job = models.BatchJobCreateOptions(id=job_id, pool_info=info, constraints=limit)
    batch.create_job(job)
    command = f"/bin/sh -c '{script}'"
    batch.create_task(job_id, models.BatchTaskCreateOptions(id="k-1", command_line=command))
    return job_id


def submit_waiting(batch: BatchClient, pool_id: str, *, files: int) -> None:
    """Submit batch tasks that wait for ever, in a disabled job."""
    job_id, info = f"job-{uuid.uuid4().hex}", models.BatchPoolInfo(pool_id=pool_id)
    batch.create_job(models.BatchJobCreateOptions(id=job_id, pool_info=info))
    requeue = models.BatchJobDisableOptions(disable_tasks=models.DisableBatchJobOption.REQUEUE)
    batch.begin_disable_job(job_id, requeue)
    for number in range(files):
        waiting = models.BatchTaskCreateOptions(id=f"k{number}-1", command_line="true")
        batch.create_task(job_id, waiting)


def is_done(batch: BatchClient, job_id: str) -> bool:
    return batch.get_task(job_id, "k-1").state == models.BatchTaskState.COMPLETED


async def test_a_runs_nodes_leave_at_the_deadline_even_without_the_run(
    batch: BatchClient, order: Order
) -> None:
    ticket = a_ticket()
    ticket = a_ticket(pool_id=ticket.pool_id, deadline=ticket.started_at + HOUR)
    await make_pool.fn(ticket, a_pool(dedicated_nodes=1), files=5)
    for _ in range(5):
        run_task(batch, ticket.pool_id, "sleep 600")
    wait_until(lambda: nodes(batch, ticket.pool_id) == (2, 1))
    order("clock", rate=FAST)
    wait_until(lambda: nodes(batch, ticket.pool_id) == (0, 0))
    found = batch.get_pool(ticket.pool_id)
    assert found.auto_scale_run
    assert found.auto_scale_run.error is None
    assert found.auto_scale_run.timestamp >= ticket.deadline


async def test_a_killed_runs_nodes_leave_within_25_minutes_of_its_last_file(
    batch: BatchClient, order: Order, tmp_path: Path
) -> None:
    """Also if nodes were evicted, with dedicated nodes as a fallback, and in a warm pool.

    All files end about two minutes after an evaluation. Afterwards nothing touches the pools.
    """
    tickets = [a_ticket(deadline=datetime.now(UTC) + 100 * HOUR) for _ in range(3)]
    own, evicted, fallback = (ticket.pool_id for ticket in tickets)
    order("resize", code="AccountSpotCoreQuotaReached", pool=fallback)
    for ticket in tickets[:2]:
        await make_pool.fn(ticket, a_pool(), files=1)
    await make_pool.fn(tickets[2], a_pool(fallback_minutes=5), files=1)
    warm = a_warm_ticket()
    await make_pool.fn(warm, WARM, files=1)
    pools = (own, evicted, fallback, warm.pool_id)
    gate = tmp_path / "gate"
    script = f"until test -e {gate}; do sleep 0.05; done; sleep 1"
    jobs = {pool_id: run_task(batch, pool_id, script) for pool_id in pools}
    order("clock", rate=SLOWER)
    wait_until(lambda: all(is_running(batch, jobs[pool_id]) for pool_id in pools))
    assert nodes(batch, fallback) == (0, 1)
    (node,) = batch.list_nodes(evicted)
    order("evict", pool=evicted, node=node.id, returnSeconds=60)
    wait_until(lambda: not is_running(batch, jobs[evicted]))
    wait_until(lambda: is_running(batch, jobs[evicted]))
    order("clock", rate=120)
    evaluated_at = scaled_at(batch, own)
    wait_until(lambda: scaled_at(batch, own) > evaluated_at)
    gate.touch()
    wait_until(lambda: all(is_done(batch, job_id) for job_id in jobs.values()))
    order("clock", rate=SLOWER)
    for pool_id in pools:
        wait_until(lambda pool_id=pool_id: nodes(batch, pool_id) == (0, 0))
    for pool_id, job_id in jobs.items():
        assert kept(batch, pool_id, job_id) <= timedelta(minutes=25)
    assert kept(batch, own, jobs[own]) > timedelta(minutes=19)


def is_running(batch: BatchClient, job_id: str) -> bool:
    return batch.get_task(job_id, "k-1").state == models.BatchTaskState.RUNNING


def kept(batch: BatchClient, pool_id: str, job_id: str) -> timedelta:
    """Return how long an empty pool had nodes after the end of its file."""
    info = batch.get_task(job_id, "k-1").execution_info
    emptied_at = batch.get_pool(pool_id).allocation_state_transition_time
    assert info
    assert info.end_time
    assert emptied_at
    return emptied_at - info.end_time


async def test_dedicated_nodes_replace_missing_spot_nodes_until_those_come(
    batch: BatchClient, order: Order
) -> None:
    ticket = a_ticket()
    ticket = a_ticket(pool_id=ticket.pool_id, deadline=ticket.started_at + 100 * HOUR)
    order("resize", code="AccountSpotCoreQuotaReached")
    await make_pool.fn(ticket, a_pool(spot_nodes=2, fallback_minutes=10), files=9)
    submit_waiting(batch, ticket.pool_id, files=9)
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
    await make_pool.fn(ticket, a_pool(spot_nodes=1, fallback_minutes=10), files=9)
    submit_waiting(batch, ticket.pool_id, files=9)
    wait_until(lambda: is_idle(batch, ticket.pool_id))
    (node,) = batch.list_nodes(ticket.pool_id)
    order("evict", pool=ticket.pool_id, node=node.id, returnSeconds=None)
    order("clock", rate=FAST)
    wait_until(lambda: nodes(batch, ticket.pool_id) == (1, 1))  # Batch still lists an evicted node


def remove_faults(batch: BatchClient) -> None:
    address = "/_local/faults?api-version=2025-06-01"
    batch.send_request(HttpRequest("DELETE", address)).raise_for_status()


WARM = a_pool(spot_nodes=2, keep_warm_minutes=20)


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
    order("clock", rate=FAST)
    wait_until(lambda: nodes(batch, ticket.pool_id) == (0, 0))
    shortest, longest = timedelta(minutes=14), timedelta(minutes=21)
    assert shortest < kept(batch, ticket.pool_id, job_id) <= longest  # a second is ten minutes


async def test_warm_runs_that_start_together_all_get_their_nodes(
    batch: BatchClient, order: Order, quick_retries: None
) -> None:
    """Batch accepts one formula per 30 seconds, and evaluates one per 30 seconds."""
    assert quick_retries is None
    ticket = a_warm_ticket()
    await make_pool.fn(ticket, WARM, files=1)
    order("clock", rate=60)
    runs = (make_pool.fn(a_warm_ticket(), WARM, files=files) for files in (3, 1, 3))
    await asyncio.gather(*runs)
    wait_until(lambda: nodes(batch, ticket.pool_id) in ((1, 0), (2, 0)))


async def test_a_warm_run_with_the_same_demand_changes_no_formula(
    batch: BatchClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.azure.scaling.PATIENCE", timedelta())
    monkeypatch.setattr("tasks.pool.next_minute", lambda _: datetime(2030, 1, 1, tzinfo=UTC))
    for _ in range(4):  # Batch would refuse the third change
        await make_pool.fn(a_warm_ticket(), WARM, files=3)
    assert batch.get_pool(a_warm_ticket().pool_id).auto_scale_formula


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
    await make_pool.fn(ticket, a_pool(spot_nodes=1, fallback_minutes=10), files=2)
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
    await make_pool.fn(ticket, a_pool(spot_nodes=1, slots_per_node=1), files=4)
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


async def test_at_the_limit_nodes_leave_although_batch_refuses_the_formula_at_first(
    batch: BatchClient, order: Order, tmp_path: Path, quick_retries: None
) -> None:
    assert quick_retries is None
    gate = tmp_path / "gate"
    ticket = a_run(batch, f"until test -e {gate}; do sleep 0.1; done", "true")
    await make_pool.fn(ticket, a_pool(spot_nodes=1, slots_per_node=1), files=2)
    wait_until(lambda: batch.get_task(ticket.job_id, "k0-1").state == "running")
    change_formula(batch, ticket.pool_id)
    tally = Tally(files=9, submitted=2)
    refused = []

    def look(_: object) -> None:
        if tally.is_stopped and not refused:
            refused.append(batch.get_pool(ticket.pool_id).auto_scale_formula != NO_NODES)
            order("clock", rate=60)
        if batch.get_pool(ticket.pool_id).auto_scale_formula == NO_NODES:
            gate.touch()

    with listening(look):
        completion = await watch_completion.fn(ticket, tally, Roster(), max_node_hours=1 / 3600)
    assert completion.diagnosis
    assert completion.diagnosis.code == "NodeHoursSpent"
    assert refused == [True]
    wait_until(lambda: nodes(batch, ticket.pool_id) == (0, 0))


def change_formula(batch: BatchClient, pool_id: str) -> None:
    """Change a pool's formula as another user would, without another demand."""
    formula = f"{batch.get_pool(pool_id).auto_scale_formula} "
    options = models.BatchPoolEnableAutoScaleOptions(auto_scale_formula=formula)
    batch.enable_pool_auto_scale(pool_id, options)


async def a_kept_pool(batch: BatchClient) -> Ticket:
    """Return the ticket of a run whose pool has one idle node."""
    ticket = a_run(batch)
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    wait_until(lambda: is_idle(batch, ticket.pool_id))
    return ticket


async def test_a_kept_pool_loses_its_nodes_although_batch_refuses_the_formula_at_first(
    batch: BatchClient, order: Order, quick_retries: None
) -> None:
    assert quick_retries is None
    ticket = await a_kept_pool(batch)
    change_formula(batch, ticket.pool_id)
    order("clock", rate=60)
    await clean_up.fn(ticket, Cleanup(pool="keep"), is_finished=False)
    assert batch.get_pool(ticket.pool_id).auto_scale_formula == NO_NODES


async def test_a_kept_pool_without_nodes_is_not_changed_again(
    batch: BatchClient, monkeypatch: pytest.MonkeyPatch, quick_retries: None
) -> None:
    assert quick_retries is None
    monkeypatch.setattr("tasks.azure.scaling.PATIENCE", timedelta())
    ticket = await a_kept_pool(batch)
    await release_nodes.fn(ticket, Cleanup(pool="keep"))
    await clean_up.fn(ticket, Cleanup(pool="keep"), is_finished=False)
    assert batch.get_pool(ticket.pool_id).auto_scale_formula == NO_NODES


async def test_only_the_cleanup_waits_until_a_kept_pool_can_be_emptied(
    batch: BatchClient, monkeypatch: pytest.MonkeyPatch, quick_retries: None
) -> None:
    assert quick_retries is None
    monkeypatch.setattr("tasks.azure.scaling.PATIENCE", timedelta())
    ticket = await a_kept_pool(batch)
    change_formula(batch, ticket.pool_id)
    await release_nodes.fn(ticket, Cleanup(pool="keep"))
    assert batch.get_pool(ticket.pool_id).auto_scale_formula != NO_NODES


async def test_a_kept_pool_that_batch_does_not_empty_is_an_error(
    batch: BatchClient, monkeypatch: pytest.MonkeyPatch, quick_retries: None
) -> None:
    assert quick_retries is None
    monkeypatch.setattr("tasks.azure.scaling.PATIENCE", timedelta())
    ticket = await a_kept_pool(batch)
    change_formula(batch, ticket.pool_id)
    with pytest.raises(PoolError, match=r"reports TooManyEnableAutoScaleRequests .* delete it"):
        await clean_up.fn(ticket, Cleanup(pool="keep"), is_finished=False)


async def test_a_kept_pool_whose_resize_waits_for_a_file_loses_its_nodes(
    batch: BatchClient, order: Order, monkeypatch: pytest.MonkeyPatch, quick_retries: None
) -> None:
    """Batch refuses formulas during a resize. The end of the job ends this one."""
    assert quick_retries is None
    monkeypatch.setattr("tasks.azure.scaling.PATIENCE", timedelta(seconds=10))
    ticket = a_run(batch, "sleep 600")
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    wait_until(lambda: batch.get_task(ticket.job_id, "k0-1").state == "running")
    shrinking = models.BatchPoolEnableAutoScaleOptions(auto_scale_formula=f"{NO_NODES} ")
    batch.enable_pool_auto_scale(ticket.pool_id, shrinking)
    order("clock", rate=60)
    await clean_up.fn(ticket, Cleanup(pool="keep"), is_finished=False)
    assert batch.get_pool(ticket.pool_id).auto_scale_formula == NO_NODES


def scaled_at(batch: BatchClient, pool_id: str) -> datetime:
    found = batch.get_pool(pool_id).auto_scale_run
    assert found
    return found.timestamp


def a_run(batch: BatchClient, *scripts: str) -> Ticket:
    """Return the ticket of a run with a job of these scripts. Its pool does not exist yet."""
    ticket = a_ticket()
    ticket = replace(ticket, deadline=ticket.started_at + 100 * HOUR)
    info = models.BatchPoolInfo(pool_id=ticket.pool_id)
    job = models.BatchJobCreateOptions(id=ticket.job_id, pool_info=info, metadata=tags(ticket))
    batch.create_job(job)
    for number, script in enumerate(scripts):
        command = f"/bin/sh -c '{script}'"
        batch_task = models.BatchTaskCreateOptions(id=f"k{number}-1", command_line=command)
        batch.create_task(ticket.job_id, batch_task)
    return ticket
