"""Cancelling a run in Prefect's UI, when the run is a plain script."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.states import Cancelling

from programs import read_until


@pytest.fixture
def source(clip: Callable[..., Path], tmp_path: Path) -> Path:
    """One whose name no other run has in its own."""
    source = tmp_path / f"{tmp_path.name}.mp4"
    source.symlink_to(clip(".mp4"))
    return source


async def cancel(source: Path) -> Any:
    async with get_client() as client:
        name = FlowRunFilterName(like_=source.name)
        (run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=name))
        await client.set_flow_run_state(run.id, Cancelling())
    return run.id


async def is_cancelled(run_id: Any) -> bool:
    async with get_client() as client:
        state = (await client.read_flow_run(run_id)).state
    return state is not None and state.is_cancelled()


async def test_a_cancelled_script_stops_within_thirty_seconds_and_cleans_up(
    started: Any, source: Path, batch: BatchClient, order: Any
) -> None:
    order("boot", seconds=3600)
    process = started(source)
    said = read_until(process.stdout, "batch tasks added")
    run_id = await cancel(source)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "The run was cancelled in Prefect." in rest
    assert "1 not started in" in rest
    assert await is_cancelled(run_id)
    (pool_id,) = re.findall(r"the pool (convert-1-\w+)", said)
    assert pool_id not in {pool.id for pool in batch.list_pools() if pool.state != "deleting"}


async def test_a_script_that_is_cancelled_as_it_ends_is_cancelled(
    started: Any, source: Path
) -> None:
    process = started(source)
    read_until(process.stdout, "batch tasks added")
    run_id = await cancel(source)
    rest, _ = process.communicate(timeout=30)
    assert await is_cancelled(run_id)
    assert "Traceback" not in rest
