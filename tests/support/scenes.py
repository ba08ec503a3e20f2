"""A library that the command converts as a process, and what its runs leave."""

import io
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient

from programs import read_until
from tasks.azure.tags import read_tags
from tasks.naming import key_and_attempt, lock_id

FILES = 5
PATIENCE_SECONDS = 150
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

    def start(
        self, *flags: str, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        words = ("--limits.wave-files", "2", "--download-to", "out", *flags)
        return self._start(self.source, *words, environment=environment)

    def wait_for(self, process: subprocess.Popen[str], mark: str) -> None:
        if count := BATCH_TASKS.fullmatch(mark):
            output = read_until(process.stdout, "Created the job")
            self.wait_for_batch_tasks(output.split()[-1], count[2], least=int(count[1]))
        else:
            read_until(process.stdout, mark)

    def wait_for_batch_tasks(self, job_id: str, state: str, *, least: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            counts = self._batch.get_job_task_counts(job_id).task_counts
            if getattr(counts, state) + counts.completed >= least:
                return
            time.sleep(0.02)  # leaves the processor to the nodes
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
