"""A run never changes or deletes what it did not create, even under a name that it would use."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.storage.blob import BlobServiceClient
from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow_async

from flows.convert import convert as flow
from flows.convert import end_run
from tasks.errors import PoolError, UsageError
from tasks.job import RUNNER
from tasks.leftovers import delete_leftovers, find_leftovers
from tasks.naming import input_blob, job_id, lock_id, record_blob, runner_blob


@pytest.fixture
async def planned(
    account: dict[str, str], library: Callable[..., Path], containers: tuple[str, str]
) -> FlowRun:
    """Create a flow run that has not started, so that its names are known."""
    assert account
    parameters = {
        "sources": [str(library("a.mp4"))],
        "output": {"container": containers[0]},
        "cleanup": {"container": containers[1]},
    }
    async with get_client() as client:
        return await client.create_flow_run(flow, parameters=parameters)


async def run(planned: FlowRun) -> State[Any]:
    state: State[Any] = await run_flow_async(
        flow, flow_run=planned, parameters=planned.parameters, return_type="state"
    )
    return state


async def sweep_a_day_later(container: str) -> None:
    leftovers = await find_leftovers.fn(container, now=datetime.now(UTC) + timedelta(days=1))
    await delete_leftovers.fn(container, [item for item in leftovers if container in item.name])


def a_pool(batch: BatchClient, name: str) -> Callable[[], Any]:
    image = models.BatchVmImageReference(
        publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
    )
    machine = models.VirtualMachineConfiguration(
        image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
    )
    batch.create_pool(
        models.BatchPoolCreateOptions(
            id=name, vm_size="Standard_D2ds_v5", virtual_machine_configuration=machine
        )
    )
    return lambda: batch.get_pool(name).as_dict()


def a_job(batch: BatchClient, name: str) -> Callable[[], Any]:
    info = models.BatchPoolInfo(pool_id=f"other-{name}"[:64])
    batch.create_job(models.BatchJobCreateOptions(id=name, pool_info=info))
    return lambda: batch.get_job(name).as_dict()


@pytest.mark.parametrize("make", [a_pool, a_job])
async def test_a_foreign_pool_or_job_with_the_runs_name_stops_the_run_and_survives_hook_and_sweep(
    planned: FlowRun,
    batch: BatchClient,
    containers: tuple[str, str],
    make: Callable[[BatchClient, str], Callable[[], Any]],
) -> None:
    name = job_id(planned.id.hex, run_count=1)
    look = make(batch, name)
    before = look()
    state = await run(planned)
    with pytest.raises(PoolError, match="this run did not create it"):
        await state.aresult()
    await end_run(flow, planned, state)
    await sweep_a_day_later(containers[1])
    assert look() == before
    ids = [p.id for p in batch.list_pools()] + [j.id for j in batch.list_jobs()]
    assert ids.count(name) == 1
    (batch.begin_delete_pool if make is a_pool else batch.begin_delete_job)(name)


@pytest.mark.parametrize(
    "name_under",
    [
        record_blob,
        lambda lock: input_blob(lock, "0" * 64),
        lambda lock: runner_blob(lock, RUNNER),
    ],
    ids=["record", "upload", "runner"],
)
async def test_a_foreign_blob_with_a_name_of_the_run_stops_the_run_and_survives(
    planned: FlowRun,
    batch: BatchClient,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    name_under: Callable[[str], str],
) -> None:
    name = name_under(lock_id(containers[0], ""))
    blob = blobs.create_container(containers[1]).get_blob_client(name)
    blob.upload_blob(b"foreign", metadata={"owner": str(uuid.uuid4())})
    before = blob.get_blob_properties()
    state = await run(planned)
    with pytest.raises(UsageError, match=r"--cleanup\.container") as caught:
        await state.aresult()
    assert name in str(caught.value)
    await end_run(flow, planned, state)
    await sweep_a_day_later(containers[1])
    after = blob.get_blob_properties()
    assert (after.etag, after.metadata) == (before.etag, before.metadata)
    assert blob.download_blob().readall() == b"foreign"
    assert job_id(planned.id.hex, run_count=1) not in {pool.id for pool in batch.list_pools()}
