"""Runs into one output container at the same time: those into overlapping folders take turns."""

import re
import subprocess
import uuid
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.storage.blob import BlobServiceClient

from programs import read_until
from tasks.azure.tags import read_tags

Start = Callable[..., subprocess.Popen[str]]
WAITING = "Waiting for another run that is using this output"


@pytest.fixture
def boot(order: Any, clear_faults: Callable[[], None]) -> Callable[[], None]:
    """Return a function that lets nodes boot: the first run does not end before."""
    order("boot", seconds=3600)
    return clear_faults


@pytest.fixture
def start(started: Any, library: Callable[..., Path]) -> Start:
    """Return a function that starts a run into a folder, which keeps its job."""
    source = library("a.mp4")

    def start_into(prefix: str, *flags: str) -> subprocess.Popen[str]:
        keep = ("--cleanup.job", "keep", "--limits.lock-wait-seconds", "300", *flags)
        return started(source, "--prefix", prefix, *keep)  # type: ignore[no-any-return]

    return start_into


def end(process: subprocess.Popen[str]) -> str:
    """Return what the process printed. It converted its file, or found it converted."""
    rest, _ = process.communicate(timeout=150)
    assert process.returncode == 0, rest
    return rest


@pytest.fixture
def jobs(batch: BatchClient, containers: tuple[str, str]) -> Callable[[], list[models.BatchJob]]:
    """Return a function that lists the jobs of the test, oldest first."""

    def find_jobs() -> list[models.BatchJob]:
        jobs = batch.list_jobs(select=["id", "state", "creationTime", "executionInfo", "metadata"])
        found = [job for job in jobs if read_tags(job.metadata).get("output") == containers[0]]
        return sorted(found, key=lambda job: job.creation_time)

    return find_jobs


@pytest.fixture
def left(blobs: BlobServiceClient, containers: tuple[str, str]) -> Callable[[], list[set[str]]]:
    """Return a function that lists the blobs of the output container and of the input container."""
    both = [blobs.get_container_client(name) for name in containers]
    return lambda: [set(container.list_blob_names()) for container in both]


def check_turns(jobs: Sequence[models.BatchJob]) -> None:
    """Check that each job was created after the end of the one before."""
    for first, second in combinations(jobs, 2):
        assert first.execution_info.end_time <= second.creation_time


@pytest.mark.parametrize("prefixes", [("", "talks"), ("talks", ""), ("talks", "talks/2024/")])
def test_a_run_into_a_folder_waits_for_one_into_a_folder_around_or_inside_it(
    start: Start,
    boot: Callable[[], None],
    jobs: Callable[[], list[models.BatchJob]],
    left: Callable[[], list[set[str]]],
    prefixes: tuple[str, str],
) -> None:
    first = start(prefixes[0])
    name = read_until(first.stdout, "Created the job").split()[-1]
    second = start(prefixes[1])
    waiting = read_until(second.stdout, WAITING)
    assert name in waiting
    assert "(the flow run '" in waiting
    assert "library to mp3', " in waiting
    boot()
    end(first)
    end(second)
    assert len(jobs()) == 2
    check_turns(jobs())
    folders = {prefix.strip("/") for prefix in prefixes}
    expected = {f"{folder}/a.mp3".lstrip("/") for folder in folders}
    outputs, inputs = left()
    assert {name for name in outputs if "reports/" not in name} == expected
    assert inputs == set()


def test_three_runs_that_start_together_into_overlapping_folders_take_turns(
    start: Start, jobs: Callable[[], list[models.BatchJob]]
) -> None:
    for process in [start(prefix) for prefix in ("talks/2024", "", "talks")]:
        assert re.search("^1 converted in", end(process), re.MULTILINE)
    assert len(jobs()) == 3
    check_turns(jobs())


def test_a_run_into_the_same_output_with_another_cleanup_container_waits_and_skips(
    start: Start, boot: Callable[[], None], jobs: Callable[[], list[models.BatchJob]]
) -> None:
    first = start("")
    read_until(first.stdout, "Created the job")
    second = start("", "--cleanup.container", f"input-{uuid.uuid4().hex[:12]}")
    read_until(second.stdout, WAITING)
    boot()
    assert "1 converted in" in end(first)
    assert "1 skipped in" in end(second)
    assert len(jobs()) == 1


def test_runs_into_folders_beside_each_other_do_not_wait(start: Start) -> None:
    processes = [start(prefix) for prefix in ("talks", "talks2")]
    for output in map(end, processes):
        assert WAITING not in output
        assert "1 converted in" in output
