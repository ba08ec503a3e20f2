"""Other programs that run the pipeline, or a part of it: the examples of docs/prefect.md."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

from examples import code_of, lines_of
from flows.convert import convert as flow
from tasks.parameters import Cleanup, Output

Convert = Callable[..., Any]
Library = Callable[..., Path]
PATIENCE_SECONDS = 300


@pytest.fixture
def home(library: Library, tmp_path: Path) -> Path:
    """Return a folder with two clips in `talks`, and one in `music` beside a file that is none."""
    library("talks/day 1.mp4", "talks/day 2.mp4", "music/song.mp4").rename(tmp_path / "home")
    (tmp_path / "home" / "music" / "notes.mp4").write_text("no film")
    return tmp_path / "home"


def run_in(
    folder: Path, *words: str | Path, account: dict[str, str], given: str = ""
) -> tuple[int, str]:
    """Run Python with these words. Return its exit status and what it prints."""
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | account,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_two_subflows_run_in_parallel_and_one_that_fails_does_not_stop_the_other(
    home: Path, account: dict[str, str], blobs: BlobServiceClient
) -> None:
    (home / "both.py").write_text(code_of("both.py"))
    _, printed = run_in(home, "both.py", account=account)
    assert "Failed('1/2 states failed.')" in printed
    names = set(blobs.get_container_client("output").list_blob_names())
    assert {"talks/day 1.mp3", "talks/day 2.mp3", "music/song.flac"} <= names


def test_a_stage_runs_alone_in_the_interpreter(home: Path, account: dict[str, str]) -> None:
    given = "\n".join(lines_of("interpreter", start=">>> "))
    status, printed = run_in(home, "-m", "asyncio", account=account, given=given)
    assert status == 0
    assert "['day 1.mp4', 'day 2.mp4']" in printed, printed


@pytest.mark.slow  # it starts a Prefect server and a local Azure of its own
def test_the_flow_runs_under_prefects_test_harness(home: Path) -> None:
    (home / "test_talks.py").write_text(code_of("test_talks.py"))
    plugin = "local_azure.pytest_plugin"
    status, printed = run_in(home, "-m", "pytest", "-p", plugin, "test_talks.py", account={})
    assert status == 0, printed
    assert "1 passed" in printed


async def test_outputs_are_the_cache_and_prefect_stores_only_the_hashes_of_files(
    convert: Convert, library: Library, tmp_path: Path
) -> None:
    folder = library("a.mp4", "b.mp4")
    for storage, headline in (("one", "2 converted"), ("two", "2 skipped")):
        with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path / storage}):
            report = await convert(folder)
        assert report.headline == headline
        (stored,) = (path.read_text() for path in (tmp_path / storage).iterdir())
        assert re.search(r"[0-9a-f]{64}\\\\n[0-9a-f]{64}", stored), stored


async def test_a_flow_with_retries_runs_again_after_a_failure_and_skips_what_is_converted(
    account: dict[str, str], library: Library, containers: tuple[str, str]
) -> None:
    assert account
    folder = library("a.mp4")
    (folder / "notes.mp4").write_text("no film")
    state = await flow.with_options(retries=1, retry_delay_seconds=0)(
        [str(folder)],
        output=Output(container=containers[0]),
        cleanup=Cleanup(container=containers[1]),
        return_state=True,
    )
    assert state.is_failed()
    assert state.message == "1 skipped, 1 failed"
