"""The deployments of prefect.yaml end to end: a real server, a real worker, the local stack.

The worker's home is a temporary folder, so that prefect.yaml runs unchanged. Only its schedules are
inactive: the tests may run at the time of one.
"""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
import yaml
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient, ContainerClient
from prefect import get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleUpdate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.schedules import RRuleSchedule
from prefect.events import Event, emit_event
from prefect.flow_runs import wait_for_flow_run
from prefect.states import Scheduled

from examples import code_of
from flows.cli.samples import make_samples
from flows.cli.served_deployments import PREFECT_FILE, ROOT
from heard import listening_for
from local_azure.testing import LocalStack
from tasks.naming import job_id
from tasks.parameters import Pool
from workers import PREFECT, Worker, running_worker, serving

PATIENCE_SECONDS = 120
OUTPUT = "az://output"
ADDRESS = "AZURE_BATCH_ENDPOINT"
ENDED = "batch-convert.run."
RRULE_TIME = "%Y%m%dT%H%M%SZ"
# Ends by itself: to remove a schedule does not remove its runs that are due but did not start.
TWICE = "FREQ=SECONDLY;INTERVAL=10;COUNT=2"
LEAD = timedelta(seconds=12)  # until the first of the two runs
CREATION_SECONDS = 10  # Prefect looks for new schedules every 5 s, and then once a minute


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home folder with two clips in Media."""
    home = tmp_path_factory.mktemp("home")
    clips = make_samples(home / "samples")
    (home / "Media" / "talks").mkdir(parents=True)
    for number, clip in enumerate(clips[:2], start=1):
        shutil.copy(clip, home / "Media" / "talks" / f"day {number}.mp4")
    return home


@pytest.fixture(scope="module")
def environment(stack: LocalStack, prefect_server: str, home: Path) -> dict[str, str]:
    fence = os.pathsep.join(str(home / name) for name in ("Media", "Converted"))
    return {
        "HOME": str(home),
        "PREFECT_API_URL": prefect_server,
        "CONVERT_FOLDERS": fence,
        **stack.settings,
    }


@pytest.fixture(scope="module")
def prefect_file(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of prefect.yaml whose schedules are inactive.

    The work pool local has a job variable, which its worker lacks: the address of the account.
    """
    content = yaml.safe_load(PREFECT_FILE.read_text())
    for deployment in content["deployments"]:
        if deployment["work_pool"]["name"] == "local":
            deployment["work_pool"]["job_variables"] = {"env": {ADDRESS: stack.settings[ADDRESS]}}
        for schedule in deployment["schedules"]:
            schedule["active"] = False
    path = tmp_path_factory.mktemp("deployments") / "prefect.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def deployed(environment: dict[str, str], prefect_file: Path) -> Iterator[list[str]]:
    """Deploy prefect.yaml and run a worker for the work pool local."""
    of_worker = {name: value for name, value in environment.items() if name != ADDRESS}
    with (
        running_worker(pool="local", environment=of_worker),
        get_client(sync_client=True) as client,
    ):
        client.create_work_pool(WorkPoolCreate(name="azure", type="process"), overwrite=True)
        subprocess.run(
            [PREFECT, "--no-prompt", "deploy", "--all", "--prefect-file", prefect_file],
            cwd=ROOT,
            env=os.environ | environment,
            check=True,
            timeout=PATIENCE_SECONDS,
        )
        yield [deployment.name for deployment in client.read_deployments()]


@pytest_asyncio.fixture
async def convert_local(deployed: list[str]) -> UUID:
    assert "convert-local" in deployed
    async with get_client() as client:
        return (await client.read_deployment_by_name("convert/convert-local")).id


async def test_a_schedule_starts_a_run_with_its_own_parameters_and_the_next_run_skips(
    convert_local: UUID, home: Path
) -> None:
    parameters = {"output": {"presets": ["flac"], "download_to": "~/Converted"}}
    async with listening_for(ENDED, about=OUTPUT) as next_event:
        while not await is_scheduled_twice(convert_local, parameters):
            pass  # Prefect was too busy to create the runs before their time
        first, second = await next_event(), await next_event()
    assert first.payload["headline"] == "2 converted"
    assert second.payload["headline"] == "2 skipped"
    converted = {path.name for path in (home / "Converted").rglob("*.flac")}
    assert converted == {"day 1.flac", "day 2.flac"}
    names = [await name_of(event) for event in (first, second)]
    assert all(re.fullmatch(r"Media to flac · \d+ \w+ \d\d:\d\d", name) for name in names)


async def name_of(event: Event) -> str:
    """Return the name of the flow run that emitted an event."""
    (run_id,) = (each.id for each in event.related if each.role == "flow-run")
    async with get_client() as client:
        return (await client.read_flow_run(UUID(run_id.rpartition(".")[2]))).name


async def is_scheduled_twice(deployment: UUID, parameters: dict[str, Any]) -> bool:
    """Give the deployment a schedule of two runs. Return whether Prefect creates them in time."""
    rule = f"DTSTART:{datetime.now(UTC) + LEAD:{RRULE_TIME}}\nRRULE:{TWICE}"
    twice = DeploymentScheduleUpdate(
        slug="twice", schedule=RRuleSchedule(rrule=rule), parameters=parameters
    )
    due: Any = {
        "deployment_filter": DeploymentFilter.model_validate({"id": {"any_": [deployment]}}),
        "flow_run_filter": FlowRunFilter.model_validate(
            {"state": {"type": {"any_": ["SCHEDULED"]}}}
        ),
    }
    async with get_client() as client:
        await client.update_deployment(deployment, DeploymentUpdate(schedules=[twice]))
        with suppress(TimeoutError):
            async with asyncio.timeout(CREATION_SECONDS):
                while len(await client.read_flow_runs(**due)) < 2:  # noqa: ASYNC110  no event says so
                    await asyncio.sleep(0.2)
            return True
    return False


async def test_a_deployment_has_the_version_and_the_job_variables_of_the_file(
    convert_local: UUID, stack: LocalStack
) -> None:
    async with get_client() as client:
        deployment = await client.read_deployment(convert_local)
    assert deployment.version == version("batch-convert")
    assert deployment.job_variables == {"env": {ADDRESS: stack.settings[ADDRESS]}}


async def test_a_run_that_sets_one_field_of_a_group_keeps_the_defaults_of_the_others(
    convert_local: UUID, batch: BatchClient, home: Path
) -> None:
    run = await started(convert_local, {"pool": {"slots_per_node": 1}, "cleanup": {"pool": "keep"}})
    ended = await wait_for_flow_run(run, timeout=PATIENCE_SECONDS)
    assert ended.state
    assert ended.state.is_completed(), ended.state.message
    pool = batch.get_pool(job_id(run.hex, run_count=1))
    assert pool.task_slots_per_node == 1
    assert pool.vm_size == Pool().vm_size
    assert (home / "Converted" / "talks" / "day 1.mp3").is_file()
    batch.begin_delete_pool(pool.id)


async def started(deployment: UUID, parameters: dict[str, Any]) -> UUID:
    async with get_client() as client:
        run = await client.create_flow_run_from_deployment(deployment, parameters=parameters)
    return run.id


async def test_a_retry_from_the_ui_plans_again_and_converts_what_is_missing(
    convert_local: UUID, prefect_server: str, home: Path
) -> None:
    broken = home / "Media" / "retried" / "day 3.mp4"
    broken.parent.mkdir()
    broken.write_text("no film")
    shutil.copy(home / "Media" / "talks" / "day 1.mp4", broken.with_name("day 4.mp4"))
    run = await started(convert_local, {"sources": [str(broken.parent)]})
    async with listening_for(ENDED, about=f"prefect.flow-run.{run}") as next_event:
        assert (await next_event()).payload["headline"] == "1 converted, 1 failed"
        ended = await wait_for_flow_run(run, timeout=PATIENCE_SECONDS)
        assert ended.state
        assert ended.state.is_failed()
        shutil.copy(home / "Media" / "talks" / "day 2.mp4", broken)
        await retry(prefect_server, run)
        assert (await next_event()).payload["headline"] == "1 converted, 1 skipped"


async def retry(server: str, run: UUID) -> None:
    """Retry a run like the UI."""
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(
            f"{server}/flow_runs/{run}/set_state", json={"state": state, "force": False}
        )
    assert answer.json()["status"] == "ACCEPT"


@pytest.fixture(scope="module")
def served(environment: dict[str, str], prefect_file: Path) -> Iterator[Worker]:
    """Serve the deployments of the work pool azure from one process, without a worker."""
    with serving(pool="azure", prefect_file=prefect_file, environment=environment) as served:
        yield served


@pytest.fixture
def media(blobs: BlobServiceClient) -> ContainerClient:
    """Return the container of the deployment convert-azure."""
    container = blobs.get_container_client("media")
    if not container.exists():
        container.create_container()
    return container


def announce_arrival(prefix: str) -> None:
    emit_event(
        "media.arrived",
        resource={
            "prefect.resource.id": f"az://media/{prefix}",
            "container": "media",
            "prefix": prefix,
        },
    )


@pytest.mark.usefixtures("served")
async def test_an_event_about_arrived_media_starts_a_run(
    blobs: BlobServiceClient, media: ContainerClient, home: Path
) -> None:
    for folder in ("talks", "others"):
        media.upload_blob(f"{folder}/2026/a.mp4", (home / "Media/talks/day 1.mp4").read_bytes())
    async with listening_for(ENDED, about=f"{OUTPUT}/talks/2026") as next_event:
        announce_arrival("talks/2026")
        assert (await next_event()).payload["headline"] == "1 converted"
    outputs = blobs.get_container_client("output")
    assert outputs.get_blob_client("talks/2026/a.mp3").exists()
    assert not outputs.get_blob_client("others/2026/a.mp3").exists()


@pytest.fixture
def boot(order: Any, clear_faults: Callable[[], None]) -> Callable[[], None]:
    """Return a function that lets nodes boot: the nightly run does not end before."""
    order("boot", seconds=3600)
    return clear_faults


async def test_a_run_for_arrived_media_waits_for_the_nightly_run_and_finds_its_files_converted(
    served: Worker,
    media: ContainerClient,
    blobs: BlobServiceClient,
    home: Path,
    boot: Callable[[], None],
) -> None:
    media.upload_blob("night/a.mp4", (home / "Media/talks/day 1.mp4").read_bytes())
    async with get_client() as client:
        nightly = (await client.read_deployment_by_name("convert/convert-azure")).id
    async with listening_for(ENDED, about=f"{OUTPUT}/night") as next_arrival:
        run = await started(nightly, {"output": {"presets": ["mp3"]}})
        async with listening_for(ENDED, about=f"prefect.flow-run.{run}") as nightly_end:
            job = job_id(run.hex, run_count=1)
            served.read_until(f"Created the job {job}")
            announce_arrival("night")
            waiting = served.read_until("Waiting for another run that is using this output")
            assert job in waiting.splitlines()[-1]
            boot()
            assert "converted" in (await nightly_end()).payload["headline"]
        assert (await next_arrival()).payload["headline"] == "1 skipped"
    assert blobs.get_blob_client("output", "night/a.mp3").exists()


@pytest.mark.usefixtures("served")
def test_another_project_runs_a_deployment_and_imports_nothing_of_this_one(
    media: ContainerClient, home: Path, tmp_path: Path
) -> None:
    media.upload_blob("talks/called.mp4", (home / "Media/talks/day 1.mp4").read_bytes())
    check = "import sys; assert not {'flows', 'tasks', 'azure'} & sys.modules.keys()\n"
    (tmp_path / "call.py").write_text(code_of("call.py") + check)
    ended = subprocess.run(
        [sys.executable, "call.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"Completed \d converted\n", ended.stdout)


@pytest.mark.slow  # each command imports Prefect
async def test_the_commands_of_the_page_run_watch_retry_cancel_and_pause(
    convert_local: UUID,
) -> None:
    commands = code_of("commands").splitlines()
    first, (cancel,) = commands[0], [line for line in commands if "flow-run cancel" in line]
    run = UUID(found(r"UUID: (\S+)", await printed_by(first)))
    async with get_client() as client:
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        rule = f"DTSTART:{tomorrow:{RRULE_TIME}}\nRRULE:FREQ=DAILY;COUNT=1"
        later = DeploymentScheduleUpdate(slug="later", schedule=RRuleSchedule(rrule=rule))
        await client.update_deployment(convert_local, DeploymentUpdate(schedules=[later]))
        schedule = (await client.read_deployment(convert_local)).schedules[0].id
        waiting = await client.create_flow_run_from_deployment(
            convert_local, state=Scheduled(scheduled_time=tomorrow)
        )
        await printed_by(cancel.replace("RUN", str(waiting.id)))
        assert (await client.read_flow_run(waiting.id)).state_name == "Cancelled"
    for command in commands:
        if command not in {first, cancel}:
            given = command.replace("RUN", str(run)).replace("SCHEDULE", str(schedule))
            assert await printed_by(given)
    ended = await wait_for_flow_run(run, timeout=PATIENCE_SECONDS)
    assert ended.run_count == 2


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text
    return match[1]


async def printed_by(command: str) -> str:
    """Run a command of Prefect, and return what it prints."""
    _, *words = shlex.split(command)
    ended = await asyncio.to_thread(
        subprocess.run,
        [PREFECT, "--no-prompt", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


async def test_a_run_that_is_due_while_the_last_one_converts_is_cancelled_and_the_next_one_skips(
    served: Worker,
    media: ContainerClient,
    home: Path,
    batch: BatchClient,
    boot: Callable[[], None],
) -> None:
    media.upload_blob("arrived/a.mp4", (home / "Media/talks/day 1.mp4").read_bytes())
    async with get_client() as client:
        arrivals = (await client.read_deployment_by_name("convert/convert-arrivals-azure")).id
    first = await started(arrivals, {})
    served.read_until(f"Created the job {job_id(first.hex, run_count=1)}")
    second = await started(arrivals, {})
    ended = await wait_for_flow_run(second, timeout=PATIENCE_SECONDS)
    assert ended.state
    assert ended.state.is_cancelled()
    boot()
    ended = await wait_for_flow_run(first, timeout=PATIENCE_SECONDS)
    assert ended.state
    assert ended.state.is_completed(), ended.state.message
    third = await started(arrivals, {})
    ended = await wait_for_flow_run(third, timeout=PATIENCE_SECONDS)
    assert ended.state
    assert "skipped" in (ended.state.message or "")
    assert job_id(third.hex, run_count=1) not in {job.id for job in batch.list_jobs()}
