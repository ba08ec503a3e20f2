"""The demo deploys a flow with a schedule, and leaves nothing running."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import yaml

from flows.cli.demonstration import PREFECT_FILE, ROOT, adapted
from flows.cli.served_deployments import PrefectFile
from programs import read_until

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DEMO = [sys.executable, ROOT / "flows" / "demo.py"]


def test_the_demo_deploys_convert_local_on_its_own_library_with_one_more_schedule() -> None:
    content = yaml.safe_load(PREFECT_FILE.read_text())
    (deployment,) = PrefectFile.model_validate(adapted(content, Path("/demo"), now=NOW)).deployments
    assert deployment.name == "convert-local"
    assert deployment.parameters["sources"] == ["/demo/library"]
    assert deployment.parameters["output"] == {
        "download_to": "/demo/converted",
        "report": "/demo/converted/report.json",
    }
    *nights, soon = deployment.schedules
    assert {schedule.parameters["output"]["download_to"] for schedule in nights} == {
        "/demo/converted"
    }
    assert (soon.slug, soon.anchor_date.isoformat()) == ("demo", "2026-11-22T12:00:30+00:00")


def running_in(folder: Path) -> list[str]:
    """Return the working folders of the processes below `folder`, on Linux."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # the process has just ended, or belongs to another user
            found.append(str(link.readlink()))
    return [place for place in found if place.startswith(str(folder))]


def start_run(url: str, deployment: str) -> str:
    """Return the id of a new run. Prefect's server may be too busy for a while."""
    deadline = time.monotonic() + 60
    while True:
        made = httpx.post(f"{url}/api/deployments/{deployment}/create_flow_run", json={})
        if made.is_success:
            return str(made.json()["id"])
        assert made.status_code == httpx.codes.SERVICE_UNAVAILABLE, made.text
        assert time.monotonic() < deadline, made.text


def wait_until_running(run: str) -> None:
    deadline = time.monotonic() + 60
    while httpx.get(run).json()["state_type"] != "RUNNING":
        assert time.monotonic() < deadline, "the run did not start"


def states_in(folder: Path) -> list[str]:
    """Return the states of all flow runs in the database of the demo's Prefect server."""
    (database,) = folder.glob("prefect-*/prefect.db")
    with closing(sqlite3.connect(database)) as connection:
        return [state for (state,) in connection.execute("SELECT state_type FROM flow_run")]


def test_the_demo_prints_the_address_of_the_ui_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--data", tmp_path], stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            printed = read_until(process.stdout, "Ctrl-C stops everything.")
            (url,) = (line.split()[-1] for line in printed.splitlines() if "Prefect's UI" in line)
            deployment = httpx.get(f"{url}/api/deployments/name/convert/convert-local").json()
            assert "demo" in {schedule["slug"] for schedule in deployment["schedules"]}
            blocks = httpx.post(f"{url}/api/block_documents/filter", json={}).text
            assert '"demo"' in blocks
            wait_until_running(f"{url}/api/flow_runs/{start_run(url, deployment['id'])}")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert running_in(tmp_path) == []
    assert not {"RUNNING", "PENDING", "CANCELLING"} & set(states_in(tmp_path))
