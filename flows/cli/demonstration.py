"""The demo: Prefect's UI, a worker, a schedule and sample clips, all on this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import httpx
import yaml
from cyclopts import App, Parameter
from platformdirs import user_data_path

from flows.cli.command import BY_SIGNAL
from flows.cli.messages import say
from flows.cli.prefect_api import use_local_api
from flows.cli.prefect_server import running_server
from flows.cli.samples import make_samples
from flows.cli.session import (
    PREFECT_FILE,
    QUIET,
    ROOT,
    check_local_azure,
    running_local_azure,
    settings_of,
)
from flows.cli.signals import Terminated, raise_on_signals
from tasks.errors import ConvertError
from tasks.results.text import printable

POOL = "local"
BLOCK = "demo"
UI_PORT = 4200
EVERY_SECONDS = 120
FIRST_SECONDS = 30  # from the start of the deployment to the first run
WORKER = {"PREFECT_WORKER_QUERY_SECONDS": "2"}
WORKER_GRACE_SECONDS = 10  # for its runs
POLL_SECONDS = 0.5
ACTIVE = ["PENDING", "RUNNING", "CANCELLING"]
CANCEL_SECONDS = 90  # for runs to clean up, on a busy machine too

app = App(
    name="demo.py",
    usage="Usage: python flows/demo.py [--data DIR]",
    help="Start Prefect's server, the local Azure and a worker, and convert a library of sample"
    " clips every two minutes. Ctrl-C stops everything.",
    help_format="plaintext",
    version_flags=[],
)
app["--help"].show = False


@app.default
def demo(
    *,
    data: Annotated[
        Path | None,
        Parameter(metavar="DIR", help="Folder for all data. [default: in your data folder]"),
    ] = None,
) -> int:
    folder = (data or user_data_path("batch-convert") / "demo").expanduser().absolute()
    raise_on_signals()
    say("Starting Prefect's server, the local Azure and a worker …")
    with running_demo(folder) as (url, worker):
        print(guide(url, folder), flush=True)  # noqa: T201  on standard output
        try:
            while worker.poll() is None:
                time.sleep(POLL_SECONDS)
        except (KeyboardInterrupt, Terminated) as stop:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending already
            say("Stopping everything …")
            cancel_runs()
            return BY_SIGNAL + (stop.number if isinstance(stop, Terminated) else signal.SIGINT)
    raise ConvertError("The worker stopped.", f"See {folder / 'worker.log'}.")


def cancel_runs() -> None:
    """Cancel all runs, and wait until they end: a worker that ends would leave them as running."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Cancelling

    active = FlowRunFilter.model_validate({"state": {"type": {"any_": ACTIVE}}})
    deadline = time.monotonic() + CANCEL_SECONDS
    asked: set[UUID] = set()
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        while runs := client.read_flow_runs(flow_run_filter=active):
            for run in runs:
                if run.id not in asked:  # the worker may have started it a moment ago
                    client.set_flow_run_state(run.id, Cancelling())
            asked.update(run.id for run in runs)
            if time.monotonic() >= deadline:
                return
            time.sleep(POLL_SECONDS)


@contextmanager
def running_demo(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address of the UI, and the worker. Everything stops with the block."""
    check_local_azure()
    with ExitStack() as parts:
        server = parts.enter_context(running_server(folder, port=UI_PORT))
        stack = parts.enter_context(running_local_azure(folder))
        make_samples(folder / "library")
        api, settings = server.wait(), settings_of(stack)
        environment = own_environment() | settings | allowed_folders(folder)
        environment |= {"PREFECT_API_URL": api, "PREFECT_HOME": str(server.home)}
        use_local_api(api)
        fill_block(settings)
        deploy(folder, environment)
        yield api.removesuffix("/api"), parts.enter_context(running_worker(folder, environment))


def own_environment() -> dict[str, str]:
    """Return the environment without the accounts and the Prefect settings of the user."""
    prefixes = ("AZURE_", "PREFECT_")
    return {name: v for name, v in os.environ.items() if not name.startswith(prefixes)} | QUIET


def allowed_folders(folder: Path) -> dict[str, str]:
    folders = (str(folder / "library"), str(folder / "converted"))
    return {"CONVERT_FOLDERS": os.pathsep.join(folders)}


def fill_block(settings: Mapping[str, str]) -> None:
    """Save the local accounts in a Prefect block. The UI shows it, and runs can use it."""
    from tasks.azure.account_block import AzureAccounts
    from tasks.azure.settings import SETTINGS

    fields = {field: settings[name] for field, name in SETTINGS.items() if name in settings}
    AzureAccounts(**fields).save(BLOCK, overwrite=True)


def deploy(folder: Path, environment: Mapping[str, str]) -> None:
    """Deploy the deployments of prefect.yaml for the local work pool, with `prefect deploy`.

    Raises:
        ConvertError: Prefect refuses; the message has its output.
    """
    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
    file = folder / "prefect.yaml"
    content = yaml.safe_load(PREFECT_FILE.read_text())
    file.write_text(yaml.safe_dump(adapted(content, folder, now=datetime.now(UTC))))
    deployed = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if deployed.returncode:
        raise ConvertError("Prefect did not accept the deployments.", deployed.stdout)


def adapted(content: Mapping[str, Any], folder: Path, *, now: datetime) -> dict[str, Any]:
    """Return the deployments of the local pool, for the demo's library, with an early schedule."""
    first = now + timedelta(seconds=FIRST_SECONDS)
    soon = {"slug": "demo", "interval": EVERY_SECONDS, "anchor_date": first.isoformat()}
    local = [each for each in content["deployments"] if each["work_pool"]["name"] == POOL]
    converted = folder / "converted"
    downloads = {"download_to": str(converted), "report": str(converted / "report.json")}
    watched = f"**Watches the folder `{folder / 'library'}`** and converts its new files.\n\n"
    for deployment in local:
        deployment["description"] = watched + deployment["description"]
        deployment["parameters"] |= {"sources": [str(folder / "library")], "output": downloads}
        for schedule in deployment["schedules"]:
            schedule["parameters"]["output"] |= downloads
        deployment["schedules"].append(soon)
    return {**content, "deployments": local}


@contextmanager
def running_worker(
    folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    from local_azure.child import start_child, stop_child

    program = ("-m", "prefect", "worker", "start", "--type", "process", "--pool", POOL)
    with (folder / "worker.log").open("wb") as log:
        worker = start_child(
            [sys.executable, *program],
            log=log,
            folder=folder,
            environment={**environment, **WORKER},
            grace_seconds=WORKER_GRACE_SECONDS,
        )
    try:
        yield worker
    finally:
        stop_child(worker)


def guide(url: str, folder: Path) -> str:
    return f"""
Prefect's UI     {url}
Watched folder   {printable(str(folder / "library"))}
Converted files  {printable(str(folder / "converted"))}

Every two minutes, a schedule converts the new files in the watched folder. The first run starts in
half a minute. Copy your own files into this folder: the next run converts only those. After each
run, report.html beside the converted files shows what its nodes did.

In the UI, the page of a run shows its progress. Its tab Artifacts shows the report. To start a run
with other parameters, open Deployments, convert-local, Run, Custom run. The page Blocks shows the
accounts of this demo, without their keys. To use them, enter {BLOCK} as Account in the box Run.

Ctrl-C stops everything."""
