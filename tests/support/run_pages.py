"""What Prefect's server has of a run: its artifacts, its task runs, and its log lines."""

import asyncio
import json
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact

PATIENCE_SECONDS = 30


async def artifacts_of(run_id: UUID) -> dict[str, Artifact]:
    """Return the artifacts of a run by the last word of their keys."""
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=of_run)
    return {str(each.key).rpartition("-")[2]: each for each in found}


async def file_states(run_id: UUID) -> dict[str, str]:
    """Return the states of the files in the table of a run."""
    table = (await artifacts_of(run_id))["files"]
    return {row["file"]: row["state"] for row in json.loads(str(table.data))}


async def stage_states(run_id: UUID) -> dict[str, str]:
    """Return the states of the task runs of a run that has ended, once the server has them."""
    async with asyncio.timeout(PATIENCE_SECONDS), get_client() as client:
        while not (states := await _final_states(client, run_id)):  # noqa: ASYNC110  it asks
            await asyncio.sleep(0.1)
    return states


async def _final_states(client: PrefectClient, run_id: UUID) -> dict[str, str]:
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    found = await client.read_task_runs(flow_run_filter=of_run)
    if not all(each.state and each.state.is_final() for each in found):
        return {}  # or the server has none of them yet
    return {each.name: str(each.state_name) for each in found}


async def log_lines(run_id: UUID) -> list[str]:
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
    async with get_client() as client:
        return [log.message for log in await client.read_logs(of_run, limit=200)]


async def crashes(run_id: UUID) -> list[str]:
    """Return the stages that crashed, and the log lines about crashes."""
    stages = await stage_states(run_id)
    lines = await log_lines(run_id)
    crashed = [name for name, state in stages.items() if state == "Crashed"]
    return crashed + [line for line in lines if "Crash detected" in line]


async def run_named(name: str) -> UUID:
    async with get_client() as client:
        (run,) = [run for run in await client.read_flow_runs() if run.name == name]
    return run.id
