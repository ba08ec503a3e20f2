"""Runs that are killed with SIGKILL at any moment: the same command again does the rest.

CI takes a sample. All stages, and N random moments from a seed:
    KILLS=all KILL_MOMENTS=20 KILL_SEED=7 .venv/bin/pytest tests/flows/test_kills.py
"""

import contextlib
import os
import random
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient

from programs import read_until

STAGES = [
    "Made the container output",
    "Asked for the pool",
    "Made the job",
    "files to upload",
    "batch tasks added",
    "Deleted the pool",
    "Deleted the job",
]
SAMPLE = ["batch tasks added"]
MOMENTS = int(os.environ.get("KILL_MOMENTS", "1"))
RANDOM = random.Random(int(os.environ.get("KILL_SEED", "1")))  # noqa: S311  no secret


def check_rerun(
    started: Any, source: Path, blobs: BlobServiceClient, containers: tuple[str, str]
) -> str:
    rest, _ = started(source, "--limits.wave-files", "2").communicate(timeout=150)
    assert re.search(
        r"^(\d+ converted|\d+ skipped|\d+ converted, \d+ skipped) in", rest, re.MULTILINE
    ), rest
    names = blobs.get_container_client(containers[0]).list_blob_names()
    outputs = {name for name in names if not name.startswith("reports/")}
    assert outputs == {f"{number}.mp3" for number in range(5)}
    assert list(blobs.get_container_client(containers[1]).list_blob_names()) == []
    return rest


@pytest.mark.parametrize("mark", STAGES if os.environ.get("KILLS") == "all" else SAMPLE)
def test_after_a_kill_in_any_stage_the_same_command_converts_the_rest_and_ends_the_killed_run(  # noqa: PLR0913, PLR0917
    started: Any,
    library: Callable[..., Path],
    batch: BatchClient,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    mark: str,
) -> None:
    source = library(*(f"{number}.mp4" for number in range(5)))
    process = started(source, "--limits.wave-files", "2")
    said = read_until(process.stdout, mark)
    process.send_signal(signal.SIGKILL)
    process.wait()
    check_rerun(started, source, blobs, containers)
    for name in re.findall(r"the pool (convert-1-\w+)", said):
        assert name not in {pool.id for pool in batch.list_pools() if pool.state != "deleting"}
        assert name not in {job.id for job in batch.list_jobs() if job.state != "deleting"}


@pytest.mark.parametrize("seconds", [RANDOM.uniform(0.5, 8) for _ in range(MOMENTS)])
def test_after_a_kill_at_any_moment_the_same_command_converts_the_rest(
    started: Any,
    library: Callable[..., Path],
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    seconds: float,
) -> None:
    source = library(*(f"{number}.mp4" for number in range(5)))
    process = started(source, "--limits.wave-files", "2")
    kill_after(process, seconds)
    check_rerun(started, source, blobs, containers)


def kill_after(process: Any, seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    process.kill()
    process.wait()
