"""The demo: what it deploys, and that it leaves nothing running."""

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


def test_it_deploys_the_local_part_of_the_file_on_its_own_library_and_adds_a_schedule() -> None:
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
    """The processes at work in a folder, as far as the system tells (Linux does)."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has just ended, or is another user's
            found.append(str(link.readlink()))
    return [place for place in found if place.startswith(str(folder))]


def wait_until_running(run: str) -> None:
    patience = time.monotonic() + 60
    while httpx.get(run).json()["state_type"] != "RUNNING":
        assert time.monotonic() < patience, "it never ran"


def states_in(folder: Path) -> list[str]:
    """Of all runs in the database of the demo's Prefect server."""
    (database,) = folder.glob("prefect-*/prefect.db")
    with closing(sqlite3.connect(database)) as connection:
        return [state for (state,) in connection.execute("SELECT state_type FROM flow_run")]


def test_it_prints_where_to_look_and_ctrl_c_stops_all_of_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--data", tmp_path], stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            told = read_until(process.stdout, "Ctrl-C stops all of it.")
            (url,) = (line.split()[-1] for line in told.splitlines() if "Prefect's UI" in line)
            deployment = httpx.get(f"{url}/api/deployments/name/convert/convert-local").json()
            assert "demo" in {schedule["slug"] for schedule in deployment["schedules"]}
            blocks = httpx.post(f"{url}/api/block_documents/filter", json={}).text
            assert '"demo"' in blocks
            run = httpx.post(f"{url}/api/deployments/{deployment['id']}/create_flow_run", json={})
            wait_until_running(f"{url}/api/flow_runs/{run.json()['id']}")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert running_in(tmp_path) == []
    assert not {"RUNNING", "PENDING", "CANCELLING"} & set(states_in(tmp_path))
