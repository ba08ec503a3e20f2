"""Cancelling a run in Prefect's UI: of a script and of a deployment that a worker runs."""

import asyncio
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import FlowRunWaitTimeout
from prefect.flow_runs import wait_for_flow_run
from prefect.states import Cancelling
from run_pages import artifacts_of, crashes, file_states, stage_states

from local_azure.testing import LocalStack
from programs import read_until
from storage_proxy import Delay, Hold, StorageProxy
from tasks.naming import OWN, job_id, lock_blob, lock_id
from workers import Worker, running_worker

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120


@pytest.fixture
def source(clip: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a source whose name occurs in the name of only one flow run."""
    source = tmp_path / f"{tmp_path.name}.mp4"
    source.symlink_to(clip(".mp4"))
    return source


async def cancel(run_id: uuid.UUID) -> None:
    """Cancel the run as Prefect's UI does."""
    async with get_client() as client:
        await client.set_flow_run_state(run_id, Cancelling())


async def run_of(source: Path) -> uuid.UUID:
    async with get_client() as client:
        name = FlowRunFilterName(like_=source.name)
        (run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=name))
    return run.id


async def is_cancelled(run_id: uuid.UUID) -> bool:
    async with get_client() as client:
        state = (await client.read_flow_run(run_id)).state
    return state is not None and state.is_cancelled()


def remaining(batch: BatchClient) -> set[str]:
    """Return the ids of the pools and jobs that exist and are not being deleted."""
    pools = {pool.id for pool in batch.list_pools() if pool.state != "deleting"}
    return pools | {job.id for job in batch.list_jobs() if job.state != "deleting"}


async def test_a_cancelled_script_stops_within_thirty_seconds_and_cleans_up(
    started: Any, source: Path, batch: BatchClient, order: Any
) -> None:
    order("boot", seconds=3600)
    process = started(source)
    before = read_until(process.stdout, " added")
    rest = await ended_by_cancel(process, source)
    assert "The run was cancelled in Prefect." in rest
    assert "1 not started in" in rest
    (pool_id,) = re.findall(r"the pool (convert-1-\w+)", before)
    assert pool_id not in remaining(batch)
    await check_page(await run_of(source), {source.name: "not started"})


async def check_page(run_id: uuid.UUID, states: dict[str, str]) -> None:
    """Check that a run's page has its report and these files, and shows no crash."""
    assert await file_states(run_id) == states
    assert "report" in await artifacts_of(run_id)
    assert await crashes(run_id) == []


@pytest.fixture
def converting(
    started: Any, source: Path, storage_faults: StorageProxy
) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start a script, wait until one of its two files converts, and return their states."""
    storage_faults.order(Hold(method="PUT", blob="*.mp3"))
    other = source.with_name("z.mp4")
    other.symlink_to(source)
    one_at_a_time = ("--pool.spot-nodes", "1", "--pool.slots-per-node", "1")
    process = started(source, other, *one_at_a_time, environment=dict(os.environ))
    read_until(process.stdout, "1 running")
    return process, {source.name: "interrupted", other.name: "not started"}


async def test_a_cancelled_script_reports_what_it_interrupted_and_did_not_start(
    converting: Any, source: Path
) -> None:
    process, states = converting
    await ended_by_cancel(process, source)
    await check_page(await run_of(source), states)


async def test_a_terminated_script_reports_what_it_interrupted_and_did_not_start(
    converting: Any, source: Path
) -> None:
    process, states = converting
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    run_id = await run_of(source)
    await check_page(run_id, states)
    async with get_client() as client:
        state = (await client.read_flow_run(run_id)).state
    assert state
    assert (state.name, state.message) == (
        "Crashed",
        "Ended by a signal: 1 not started, 1 interrupted",
    )


async def test_a_script_can_be_cancelled_while_it_waits_for_the_lock(
    started: Any, source: Path, containers: tuple[str, str], blobs: BlobServiceClient
) -> None:
    outputs = blobs.create_container(containers[0])
    lock = outputs.upload_blob(lock_blob(lock_id(containers[0], "")), b"", metadata=OWN)
    lock.acquire_lease(-1)
    process = started(source, "--limits.lock-wait-seconds", "600")
    read_until(process.stdout, "Waiting for another run")
    rest = await ended_by_cancel(process, source)
    assert "The run was cancelled in Prefect. No file was converting. Run again." in rest
    assert "1 not started in" in rest


async def test_a_script_can_be_cancelled_while_it_plans(
    started: Any, source: Path, storage_faults: StorageProxy
) -> None:
    storage_faults.order(Delay(seconds=60, comp="list"))
    process = started(source, environment=dict(os.environ))
    rest = await ended_by_cancel(process, source)
    assert "error: The run was cancelled in Prefect before its plan was ready. Run again." in rest
    assert await crashes(await run_of(source)) == []


async def ended_by_cancel(process: subprocess.Popen[str], source: Path) -> str:
    """Cancel the script, check that it stops within 30 seconds, and return what it printed."""
    run_id = await started_run(source)
    await cancel(run_id)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert await is_cancelled(run_id)
    return rest


async def started_run(source: Path) -> uuid.UUID:
    """Wait until the flow run exists, and return its id."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(ValueError):
                return await run_of(source)


async def test_a_script_that_is_cancelled_as_it_ends_counts_as_cancelled(
    started: Any, source: Path, storage_faults: StorageProxy
) -> None:
    deletion = Hold(method="POST", comp="batch")
    storage_faults.order(deletion)
    process = started(source, environment=dict(os.environ))
    run_id = await started_run(source)
    while not any(request.comp == "batch" for request in storage_faults.requests):
        assert process.poll() is None
        await asyncio.sleep(0.05)
    await cancel(run_id)
    storage_faults.withdraw(deletion)
    rest, _ = process.communicate(timeout=30)
    assert await is_cancelled(run_id)
    assert "Traceback" not in rest


@pytest.fixture(scope="module")
def worker(usual_stack: LocalStack, prefect_server: str) -> Iterator[Worker]:
    """Run a process worker with the stack's accounts."""
    assert prefect_server
    pool = f"workers-{uuid.uuid4().hex[:8]}"
    with running_worker(pool=pool, environment=usual_stack.settings) as worker:
        yield worker


Deployed = Callable[..., Awaitable[FlowRun]]


@pytest.fixture
def deployed(worker: Worker, containers: tuple[str, str]) -> Deployed:
    """Return a function that runs the flow as a deployment until its first wave is added."""

    async def run(source: Path) -> FlowRun:
        async with get_client() as client:
            flow_id = await client.create_flow_from_name("convert")
            step = "prefect.deployments.steps.set_working_directory"
            deployment_id = await client.create_deployment(
                flow_id,
                name=source.name,
                entrypoint="flows/convert.py:convert",
                work_pool_name=worker.pool,
                pull_steps=[{step: {"directory": str(ROOT)}}],
            )
            parameters = {
                "sources": [str(source)],
                "output": {"container": containers[0]},
                "cleanup": {"container": containers[1]},
            }
            run = await client.create_flow_run_from_deployment(deployment_id, parameters=parameters)
            worker.read_until(" added")
            return await client.read_flow_run(run.id)

    return run


async def test_a_cancelled_run_of_a_worker_stops_within_thirty_seconds_and_cleans_up(
    deployed: Deployed, source: Path, batch: BatchClient, order: Any
) -> None:
    order("boot", seconds=3600)
    run = await deployed(source)
    assert job_id(run.id.hex, run_count=1) in remaining(batch)
    await cancel(run.id)
    ended = await wait_for_flow_run(run.id, timeout=30)
    assert ended.state
    assert ended.state.name == "Cancelled"
    await check_page(run.id, {source.name: "not started"})
    await wait_until_gone(batch, run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_hook_deletes_pool_and_job_after_the_process_of_a_run_is_killed(
    deployed: Deployed, source: Path, batch: BatchClient, order: Any, number: signal.Signals
) -> None:
    order("boot", seconds=3600)
    run = await deployed(source)
    assert run.infrastructure_pid
    os.kill(int(run.infrastructure_pid), number)
    try:
        ended = await wait_for_flow_run(run.id, timeout=20)
    except FlowRunWaitTimeout:
        # On SIGTERM, Prefect raises an error in whichever code runs. If that is a callback, asyncio
        # drops the error. Programs that send SIGTERM send SIGKILL after a grace period.
        os.kill(int(run.infrastructure_pid), signal.SIGKILL)
        ended = await wait_for_flow_run(run.id, timeout=PATIENCE_SECONDS)
    assert ended.state
    assert ended.state.is_crashed()
    if number == signal.SIGTERM:
        assert await file_states(run.id) == {source.name: "not started"}
        assert "Crashed" not in (await stage_states(run.id)).values()
    await wait_until_gone(batch, run)


async def wait_until_gone(batch: BatchClient, run: FlowRun) -> None:
    """Wait for the hook, which deletes the run's pool and job in another process."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while job_id(run.id.hex, run_count=1) in await asyncio.to_thread(remaining, batch):
            pass
