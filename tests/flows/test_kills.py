"""Runs that a signal ends: the same command, run again, completes the work.

CI sends each signal in one stage. All other stages and 20 random moments are marked slow. KILL_SEED
chooses other moments:
    KILL_SEED=7 .venv/bin/pytest -m slow tests/flows/test_kills.py
"""

import contextlib
import io
import os
import pty
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient

from programs import CONVERT, read_until
from tasks.azure.tags import read_tags
from tasks.naming import key_and_attempt, lock_id

FILES = 5
STATUS = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
BATCH_TASKS = re.compile(r"(\d+) (running|completed)")
STAGES = {  # what shows that the stage has begun: a log line, or a number of batch tasks in a state
    "plan": "Using the Batch account",
    "containers": "Created the container",
    "pool": "Requested the pool",
    "job": "Created the job",
    "uploads": " to upload",
    "submission": " added",
    "converting": "1 running",
    "release": f"{FILES} completed",
    "outputs": "Deleted the pool",
    "cleanup": "Deleted the job",
    "report": "Downloaded",
}
SAMPLE = {
    (signal.SIGHUP, "uploads"),
    (signal.SIGINT, "job"),
    (signal.SIGTERM, "converting"),
    (signal.SIGKILL, "submission"),
}
IN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
MOMENTS = 20
RANDOM = random.Random(int(os.environ.get("KILL_SEED", "1")))  # noqa: S311  not a secret


class Scene:
    """A library of five files, the command that converts it, and what its runs leave."""

    def __init__(
        self,
        start: Callable[..., subprocess.Popen[str]],
        source: Path,
        batch: BatchClient,
        blobs: BlobServiceClient,
        containers: tuple[str, str],
    ) -> None:
        self._start = start
        self.source = source
        self._batch = batch
        self._outputs, self._inputs = (blobs.get_container_client(name) for name in containers)
        self._lock_id = lock_id(containers[0], "")

    def start(self) -> subprocess.Popen[str]:
        return self._start(self.source, "--limits.wave-files", "2", "--download-to", "out")

    def wait_for(self, process: subprocess.Popen[str], mark: str) -> None:
        if count := BATCH_TASKS.fullmatch(mark):
            output = read_until(process.stdout, "Created the job")
            self.wait_for_batch_tasks(output.split()[-1], count[2], least=int(count[1]))
        else:
            read_until(process.stdout, mark)

    def wait_for_batch_tasks(self, job_id: str, state: str, *, least: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            counts = self._batch.get_job_task_counts(job_id).task_counts
            if getattr(counts, state) + counts.completed >= least:
                return
        raise AssertionError(f"there were never {least} {state} batch tasks")

    def left_in_batch(self) -> set[str]:
        """Return the run's pools and jobs that are not being deleted."""
        everything = (*self._batch.list_pools(), *self._batch.list_jobs())
        return {
            item.id
            for item in everything
            if item.state != "deleting" and read_tags(item.metadata).get("lock") == self._lock_id
        }

    def check_batch_tasks(self) -> None:
        """Check that no conversion has two batch tasks in one job."""
        for job_id in {job.id for job in self._batch.list_jobs()} & self.left_in_batch():
            keys = [key_and_attempt(each.id)[0] for each in self._batch.list_tasks(job_id)]
            assert len(keys) == len(set(keys))

    def check_end(self) -> None:
        """Check that all files are converted, and that only the outputs are left."""
        names = {f"{number}.mp3" for number in range(FILES)}
        found = self._outputs.list_blob_names()
        assert {name for name in found if not name.startswith("reports/")} == names
        for name in names:
            output = io.BytesIO(self._outputs.download_blob(name).readall())
            source = self.source / f"{Path(name).stem}.mp4"
            assert seconds(output) == pytest.approx(seconds(source), abs=0.5)
        assert list(self._inputs.list_blob_names()) == []
        assert self.left_in_batch() == set()


def seconds(media: Path | io.BytesIO) -> float:
    with av.open(media if isinstance(media, io.BytesIO) else str(media)) as opened:
        assert opened.duration
        return opened.duration / 1_000_000


@pytest.fixture
def scene(
    started: Any,
    library: Callable[..., Path],
    batch: BatchClient,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
) -> Scene:
    source = library(*(f"{number}.mp4" for number in range(FILES)))
    return Scene(started, source, batch, blobs, containers)


def send(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send SIGINT to the process group, as a terminal does, and other signals to the process.

    The run may have ended before.
    """
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)


def check_death(process: subprocess.Popen[str], number: signal.Signals, scene: Scene) -> None:
    """Check that the run ended quickly with an error and left nothing that costs money.

    The run may also have ended before the signal.
    """
    sent_at = time.monotonic()
    rest, _ = process.communicate(timeout=30)
    assert time.monotonic() - sent_at < 10
    assert "Traceback" not in rest
    assert process.returncode in (0, STATUS[number])
    if number == signal.SIGKILL:
        scene.check_batch_tasks()
    else:
        assert scene.left_in_batch() == set()
    if process.returncode in (129, 130, 143):
        words = "interrupted|terminated|the terminal was closed"
        assert re.search(rf"^error: ({words})\. [A-Z].*\.$", rest, re.MULTILINE)


def rerun(scene: Scene) -> None:
    rest, _ = scene.start().communicate(timeout=150)
    assert re.search(
        r"^(\d+ converted|\d+ skipped|\d+ converted, \d+ skipped) in", rest, re.MULTILINE
    ), rest
    scene.check_end()


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        pytest.param(number, stage, marks=[] if (number, stage) in SAMPLE else pytest.mark.slow)
        for number in STATUS
        for stage in STAGES
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value,
)
def test_after_a_signal_in_a_stage_the_same_command_completes_and_leaves_only_the_outputs(
    scene: Scene, number: signal.Signals, stage: str
) -> None:
    process = scene.start()
    scene.wait_for(process, STAGES[stage])
    send(process, number)
    check_death(process, number, scene)
    rerun(scene)


def test_a_closed_terminal_ends_the_run_with_its_pool_and_job(
    scene: Scene, account: dict[str, str], containers: tuple[str, str], tmp_path: Path
) -> None:
    terminal, inner = pty.openpty()
    flags = ("--container", containers[0], "--cleanup.container", containers[1])
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, *CONVERT, scene.source, *flags],
        cwd=tmp_path,
        env=os.environ | account,
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    printed = b""
    while not (job := re.search(rb"Created the job (\S+)\r\n", printed)):
        printed += os.read(terminal, 1024)
    scene.wait_for_batch_tasks(job[1].decode(), "running", least=1)
    os.close(terminal)
    assert process.wait(30) == STATUS[signal.SIGHUP]
    assert scene.left_in_batch() == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "after_seconds"),
    [(RANDOM.choice(list(STATUS)), RANDOM.uniform(0.1, 10)) for _ in range(MOMENTS)],
)
def test_after_a_signal_at_a_random_moment_the_same_command_completes_and_leaves_only_the_outputs(
    scene: Scene, number: signal.Signals, after_seconds: float
) -> None:
    process = scene.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=after_seconds)
    send(process, number)
    check_death(process, number, scene)
    rerun(scene)
