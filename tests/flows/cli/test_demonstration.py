"""The demo deploys a flow with a schedule, and leaves nothing running."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from databases import EmptyDatabase

from flows.cli.demonstration import PREFECT_FILE, ROOT, adapted
from flows.cli.served_deployments import PrefectFile
from programs import read_until

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PATIENCE_SECONDS = 150  # the machine may be busy
DEMO = [sys.executable, ROOT / "flows" / "demo.py"]


def test_the_demo_deploys_convert_local_on_its_own_library_with_one_more_schedule() -> None:
    content = yaml.safe_load(PREFECT_FILE.read_text())
    (deployment,) = PrefectFile.model_validate(adapted(content, Path("/demo"), now=NOW)).deployments
    assert deployment.name == "convert-local"
    assert deployment.parameters["sources"] == ["/demo/library"]
    assert "/demo/library" in deployment.description
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


def ask(method: str, url: str, **content: Any) -> Any:
    """Return the response of Prefect's server, which may be too busy for a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        response = httpx.request(method, url, timeout=PATIENCE_SECONDS, **content)
        if response.is_success:
            return response.json()
        assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE, response.text
        assert time.monotonic() < deadline, response.text


def wait_until_running(run: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while ask("GET", run)["state_type"] in ("SCHEDULED", "PENDING"):
        assert time.monotonic() < deadline, "the run did not start"
        time.sleep(0.2)  # leaves the processor to the run


def states_in(folder: Path) -> list[str]:
    """Return the states of all flow runs in the database of the demo's Prefect server."""
    (database,) = folder.glob("prefect-*/prefect.db")
    with closing(sqlite3.connect(database)) as connection:
        return [state for (state,) in connection.execute("SELECT state_type FROM flow_run")]


def test_the_demo_prints_the_address_of_the_ui_and_ctrl_c_ends_everything(
    tmp_path: Path, empty_database: EmptyDatabase
) -> None:
    empty_database.copy_to(tmp_path)
    with subprocess.Popen(
        [*DEMO, "--data", tmp_path], stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            printed = read_until(process.stdout, "Ctrl-C stops everything.")
            (url,) = (line.split()[-1] for line in printed.splitlines() if "Prefect's UI" in line)
            assert f"Watched folder   {tmp_path}/library" in printed
            api = f"{url}/api"
            deployment = ask("GET", f"{api}/deployments/name/convert/convert-local")
            assert "demo" in {schedule["slug"] for schedule in deployment["schedules"]}
            blocks = ask("POST", f"{api}/block_documents/filter", json={})
            assert "demo" in {block["name"] for block in blocks}
            run = ask("POST", f"{api}/deployments/{deployment['id']}/create_flow_run", json={})
            wait_until_running(f"{api}/flow_runs/{run['id']}")
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_SECONDS) == 130
        finally:
            process.kill()
    assert running_in(tmp_path) == []
    assert not {"RUNNING", "PENDING", "CANCELLING"} & set(states_in(tmp_path))
