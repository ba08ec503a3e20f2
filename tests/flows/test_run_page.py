"""What Prefect shows of a run: its name, its message, its log lines, its artifacts."""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow_async
from run_pages import artifacts_of, log_lines

from flows.convert import convert as flow
from tasks.results.picture import is_picture

Shown = Callable[..., Any]
PATIENCE_SECONDS = 30


@pytest.fixture
def shown(account: dict[str, str], containers: tuple[str, str]) -> Shown:
    """Return a function that runs the flow as Prefect does, and returns the flow run."""
    assert account

    async def run(source: Path, **of_run: Any) -> FlowRun:
        parameters = {
            "sources": [str(source)],
            "output": {"container": containers[0]},
            "cleanup": {"container": containers[1]},
        }
        async with get_client() as client:
            made = await client.create_flow_run(flow, parameters=parameters, **of_run)
            await run_flow_async(flow, flow_run=made, parameters=parameters, return_type="state")
            return await client.read_flow_run(made.id)

    return run


async def wait_for_line(run: FlowRun, line: str) -> None:
    """Wait for a log line of a run. Prefect sends log lines with a delay."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while line not in await log_lines(run.id):
            pass


async def test_a_completed_run_says_what_it_did_in_its_message_and_log(
    shown: Shown, library: Callable[..., Path]
) -> None:
    source = library("a.mp4")
    first, second = await shown(source), await shown(source)
    assert [run.name for run in (first, second)] == [f"{source.parent.name}/library to mp3"] * 2
    for run, message in ((first, "1 converted"), (second, "nothing to do: 1 skipped")):
        assert run.state
        assert run.state.message == message
        await wait_for_line(run, f"Finished in state Completed('{message}')")


async def test_a_run_keeps_the_name_that_the_user_gave_it(
    shown: Shown, library: Callable[..., Path]
) -> None:
    run = await shown(library("a.mp4"), name="nightly-talks")
    assert run.name == "nightly-talks"


async def test_the_reader_of_a_local_report_can_run_its_command_for_the_picture(
    shown: Shown, library: Callable[..., Path], account: dict[str, str], tmp_path: Path
) -> None:
    run = await shown(library("a.mp4"))
    report = (await artifacts_of(run.id))["report"]
    command = re.findall(r"```sh\n(.*?)```", str(report.data), re.DOTALL)[-1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", command), cwd=tmp_path, env=os.environ | account | {"PATH": path}
    )
    assert await process.wait() == 0
    assert is_picture(tmp_path / "picture.html")


async def test_the_artifacts_of_runs_into_one_output_have_a_history(
    shown: Shown, library: Callable[..., Path], containers: tuple[str, str]
) -> None:
    source = library("a.mp4")
    runs = [await shown(source), await shown(source)]
    async with get_client() as client:
        key = ArtifactFilterKey(any_=[f"convert-{containers[0]}-mp3-report"])
        found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=key))
    assert {artifact.flow_run_id for artifact in found} == {run.id for run in runs}
