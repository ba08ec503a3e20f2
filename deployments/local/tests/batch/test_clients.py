"""Clients that others wrote: each creates a pool, runs tasks, prints their output, deletes all.

`slow` also runs the clients whose installation takes minutes.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from environments import make_python, nodejs_with
from lab import Lab, until
from local_azure.nodejs import find_nodejs

STORIES = Path(__file__).with_name("clients")
OUTPUT = ["hello from t0", "hello from t1", "hello from t2"]
TOLD_SECONDS = 400
JAVASCRIPT = "@azure/batch@10.2.0"
IDENTITY = "@azure/identity@4.14.1"


def told(settings: Mapping[str, str], home: Path, *program: str | Path) -> list[str]:
    """Run a story, and return what its tasks printed."""
    ended = subprocess.run(
        program,
        env={**settings, "HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=TOLD_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [line for line in ended.stdout.splitlines() if line.startswith("hello")]


def javascript(folder: Path, packages: Path) -> tuple[Path, Path]:
    """Return a command line of the story in JavaScript, beside its packages."""
    (folder / "node_modules").symlink_to(packages / "node_modules")
    return find_nodejs().node, Path(shutil.copy(STORIES / "story.mjs", folder))


@pytest.fixture
def told_lab(lab: Lab, caplog: pytest.LogCaptureFixture) -> Iterator[Lab]:
    """Yield a lab; check that the story has deleted all, and that nothing was unsupported."""
    yield lab
    assert list(lab.client.list_jobs()) == []
    until(lambda: list(lab.client.list_pools()) == [])
    records = caplog.get_records("call")
    assert [each.message for each in records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("story", ["story_15.py", "story_15_async.py"])
def test_the_present_client_runs_tasks_and_deletes_all(
    story: str, told_lab: Lab, tmp_path: Path
) -> None:
    assert told(told_lab.settings, tmp_path, sys.executable, STORIES / story) == OUTPUT


def test_the_previous_client_runs_tasks_and_deletes_all(
    old_python: Path, told_lab: Lab, tmp_path: Path
) -> None:
    assert told(told_lab.settings, tmp_path, old_python, STORIES / "story_to_14.py") == OUTPUT


@pytest.mark.accounts("entra")
def test_the_previous_client_signs_in_with_version_1_of_the_token_endpoint(
    old_python: Path, account: dict[str, str], tmp_path: Path
) -> None:
    assert told(account, tmp_path, old_python, STORIES / "story_to_14.py") == OUTPUT


def test_the_client_in_javascript_runs_tasks_and_deletes_all(told_lab: Lab, tmp_path: Path) -> None:
    program = javascript(tmp_path, nodejs_with(JAVASCRIPT))
    assert told(told_lab.settings, tmp_path, *program) == OUTPUT


@pytest.mark.slow
@pytest.mark.accounts("entra")
def test_the_client_in_javascript_signs_in(account: dict[str, str], tmp_path: Path) -> None:
    program = javascript(tmp_path, nodejs_with(f"{JAVASCRIPT} {IDENTITY}"))
    assert told(account, tmp_path, *program) == OUTPUT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("requirement", "story"),
    [
        ("azure-batch==6.0.0", "story_to_14.py"),
        ("azure-cli==2.91.0", "story_azure_cli.py"),
        ("apache-airflow-providers-microsoft-azure==15.2.1", "story_airflow.py"),
    ],
)
def test_another_client_runs_tasks_and_deletes_all(
    requirement: str, story: str, told_lab: Lab, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_python(Path(folder), requirement)
        python = Path(folder, "bin", "python")
        assert told(told_lab.settings, tmp_path, python, STORIES / story) == OUTPUT
