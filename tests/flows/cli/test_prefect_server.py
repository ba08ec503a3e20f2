"""The Prefect server of a command's own."""

import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from databases import EmptyDatabase

from flows.cli.prefect_server import running_server
from tasks.errors import ConvertError, SettingsError


def test_a_server_answers_on_loopback(prefect_server: str) -> None:
    assert prefect_server.startswith("http://127.0.0.1:")
    assert httpx.get(f"{prefect_server}/health", timeout=60).json() is True


FLOW = """
from prefect import flow
from prefect.runtime import flow_run

@flow
def names_itself():
    print(flow_run.id)

names_itself()
"""


def test_a_flow_of_another_process_is_recorded_on_it(prefect_server: str) -> None:
    program = subprocess.run([sys.executable, "-c", FLOW], capture_output=True, check=True)
    run = program.stdout.decode().strip()
    recorded = httpx.get(f"{prefect_server}/flow_runs/{run}", timeout=60)
    assert recorded.json()["state_type"] == "COMPLETED"


def test_the_data_folder_is_for_this_user_only(tmp_path: Path) -> None:
    data = tmp_path / "new" / "batch-convert"
    with running_server(data):
        assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_a_data_folder_that_cannot_be_read_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsError, match="XDG_DATA_HOME"),
        running_server(tmp_path / ("x" * 999)),
    ):
        pass


def test_the_error_of_a_server_that_does_not_start_has_its_reason(tmp_path: Path) -> None:
    database = tmp_path / f"prefect-{version('prefect')}" / "prefect.db"
    database.parent.mkdir()
    database.write_text("not a database")
    with running_server(tmp_path) as server, pytest.raises(ConvertError) as raised:
        server.wait()
    assert "file is not a database" in raised.value.problem
    assert str(server.log) in raised.value.remedy


def test_a_server_knows_whether_it_creates_its_database(
    tmp_path: Path, empty_database: EmptyDatabase
) -> None:
    with running_server(tmp_path / "new") as server:
        assert server.is_new
    empty_database.copy_to(tmp_path / "used")
    with running_server(tmp_path / "used") as server:
        assert not server.is_new
