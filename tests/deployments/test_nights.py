"""Four scheduled nights of one deployment. From the second night on, one file is cut short."""

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
import yaml
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient
from prefect import get_client
from prefect.client.schemas.actions import DeploymentScheduleUpdate, DeploymentUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import RRuleSchedule
from prefect.flow_runs import wait_for_flow_run

from flows.cli.samples import make_samples
from flows.cli.served_deployments import PREFECT_FILE
from heard import listening_for
from local_azure.testing import LocalStack
from tasks.naming import job_id
from workers import serving

pytestmark = pytest.mark.slow  # each night is scheduled some seconds ahead
NAME = "nights"
LEAD = timedelta(seconds=12)  # Prefect looks for new schedules every 5 s
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Library:
    """The folder that the nights convert, and the folder of their reports."""

    media: Path
    reports: Path
    cut: bytes

    def cut_short(self) -> None:
        (self.media / "day 2.mp4").write_bytes(self.cut)


@pytest.fixture
def nights(tmp_path: Path, clip: Callable[..., Path]) -> Library:
    nights = Library(
        tmp_path / "Media",
        tmp_path / "reports",
        clip(".mp4", audio=20, muxer=(("movflags", "faststart"),)).read_bytes()[:40_000],
    )
    nights.media.mkdir()
    for number, sample in enumerate(make_samples(tmp_path / "samples")[:3], start=1):
        shutil.copy(sample, nights.media / f"day {number}.mp4")
    return nights


@pytest_asyncio.fixture
async def deployment(
    stack: LocalStack, prefect_server: str, nights: Library, tmp_path: Path
) -> AsyncIterator[UUID]:
    """Serve `convert-local` of prefect.yaml for these folders. Yield its id."""
    content = yaml.safe_load(PREFECT_FILE.read_text())
    (local,) = (each for each in content["deployments"] if each["name"] == "convert-local")
    output = {"prefix": NAME, "report": str(nights.reports / "nights.json")}
    local["parameters"] |= {"sources": [str(nights.media)], "output": output}
    local |= {"name": NAME, "work_pool": {"name": NAME}, "schedules": []}
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump(content | {"deployments": [local]}))
    environment = {"PREFECT_API_URL": prefect_server, **stack.settings}
    with serving(pool=NAME, prefect_file=file, environment=environment):
        async with get_client() as client:
            yield (await client.read_deployment_by_name(f"convert/{NAME}")).id


async def end_of_night(deployment: UUID) -> FlowRun:
    """Schedule one run, and return it when it has ended."""
    about = f"prefect.deployment.{deployment}"
    async with listening_for("batch-convert.run.", about=about) as next_event, get_client() as api:
        rule = f"DTSTART:{datetime.now(UTC) + LEAD:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=DAILY;COUNT=1"
        night = DeploymentScheduleUpdate(slug="night", schedule=RRuleSchedule(rrule=rule))
        await api.update_deployment(deployment, DeploymentUpdate(schedules=[night]))
        event = await next_event()
    (run,) = (each.id for each in event.related if each.role == "flow-run")
    return await wait_for_flow_run(UUID(run.rpartition(".")[2]), timeout=PATIENCE_SECONDS)


async def artifact_keys(run: FlowRun) -> list[str]:
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    async with get_client() as client:
        return [each.key or "" for each in await client.read_artifacts(artifact_filter=of_run)]


async def stages_of(run: FlowRun) -> set[str]:
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    async with get_client() as client:
        return {each.name for each in await client.read_task_runs(flow_run_filter=of_run)}


async def test_four_nights_with_a_file_that_breaks_are_red_once_and_each_can_be_looked_up(
    deployment: UUID, nights: Library, batch: BatchClient, blobs: BlobServiceClient
) -> None:
    runs = [await end_of_night(deployment)]
    nights.cut_short()
    runs += [await end_of_night(deployment) for _ in range(3)]

    first, second, *later = [(run.state.name, run.state.message) for run in runs if run.state]
    assert first == ("Completed", "3 converted")
    assert second == ("Failed", "2 skipped, 1 failed")
    for name, message in later:
        assert name == "Completed"
        assert message
        assert message.endswith("2 skipped, 1 failed in an earlier run")
    assert all(run.auto_scheduled for run in runs)

    pools = {pool.id for pool in batch.list_pools()}
    assert not pools & {job_id(run.id.hex, run_count=1) for run in runs}
    assert ["pool" in await stages_of(run) for run in runs] == [True, True, False, False]

    for run in runs:
        keys = await artifact_keys(run)
        assert [any(word in key for key in keys) for word in ("report", "files")] == [True, True]
    for kind in ("json", "html"):
        assert len(list(nights.reports.glob(f"nights-????????T??????Z.{kind}"))) == 3
        assert (nights.reports / f"nights.{kind}").is_file()
    pictures = blobs.get_container_client("output").list_blob_names(
        name_starts_with=f"{NAME}/reports/"
    )
    ids = [name.rpartition("-")[2].removesuffix(".html") for name in pictures]
    assert ids == [run.id.hex for run in runs[:2]]  # later nights have nothing to convert
