"""Local stacks as tests start them: the real program, on a folder and ports of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployments.local import env_file


@dataclass(frozen=True)
class LocalStack:
    """A local stack that runs: its settings, its data folder, and its process."""

    settings: dict[str, str]
    data: Path
    process: subprocess.Popen[str]


@contextmanager
def local_stack(data: Path, *flags: str) -> Iterator[LocalStack]:
    """The real program on `data` and free ports, until the block ends, or pytest does."""
    program = [sys.executable, "-m", "deployments.local", "--until-stdin-closes"]
    ports = ["--batch-port", "0", "--blob-port", "0"]
    with subprocess.Popen(
        [*program, *ports, "--data", data, *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        lines = iter(process.stdout.readline, "ready\n")
        assert all(lines), "the stack ended before it was ready"
        yield LocalStack(env_file.read(data / "stack.env"), data, process)
        process.stdin.close()
        assert process.wait(30) == 0
