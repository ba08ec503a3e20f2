"""The programs that run deployments: Prefect's process workers, and `flows/serve.py`."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

PREFECT = Path(sys.executable).with_name("prefect")
SERVE = Path(__file__).parents[2] / "flows" / "serve.py"
EAGER = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_WORKER_PREFETCH_SECONDS": "1",
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
}
TIMEOUT_SECONDS = 180  # without a line; the machine may be busy
GRACE_SECONDS = 20


class Worker:
    """A running worker, and what it and its flows print."""

    def __init__(self, process: subprocess.Popen[str], pool: str) -> None:
        self.process = process
        self.pool = pool
        self.first_lines = ""
        self._lines: SimpleQueue[str] = SimpleQueue()
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)

    def read_until(self, mark: str) -> str:
        """Return the output since the last call, up to the line with `mark`."""
        output = ""
        while mark not in output:
            output += self._lines.get(timeout=TIMEOUT_SECONDS)
        return output


def running_worker(*, pool: str, environment: Mapping[str, str]) -> AbstractContextManager[Worker]:
    """Run a process worker for a work pool, and create the work pool if it is missing.

    The worker and its flows get `environment` on top of this process's environment. When the
    worker ends, its flows continue to run: make sure that they have all ended before.
    """
    start = [PREFECT, "worker", "start", "--type", "process", "--pool", pool, "--name", pool]
    return _running(start, pool=pool, environment=environment, mark="started!")


def serving(
    *, pool: str, prefect_file: Path, environment: Mapping[str, str]
) -> AbstractContextManager[Worker]:
    """Serve the deployments of a work pool from one process, without a worker."""
    serve = [sys.executable, SERVE, pool, "--prefect-file", prefect_file]
    return _running(serve, pool=pool, environment=environment, mark="being served")


@contextmanager
def _running(
    command: Sequence[str | Path], *, pool: str, environment: Mapping[str, str], mark: str
) -> Iterator[Worker]:
    with subprocess.Popen(
        command,
        env=os.environ | EAGER | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            worker = Worker(process, pool)
            worker.first_lines = worker.read_until(mark)
            yield worker
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
