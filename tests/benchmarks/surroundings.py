"""Surroundings of a benchmark: its own stack and Prefect server, and clips to convert."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.cli.prefect_server import running_server
from local_azure.ffmpeg import node_path
from local_azure.testing import LocalStack, local_stack
from rounds import ROOT  # before tests/support, which it adds to the path

SLOTS = 2
CONVERT = [sys.executable, str(ROOT / "flows" / "convert.py")]


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a command used, including its children's CPU time."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Surroundings:
    """A folder for files, a running stack, and the environment variables for both."""

    folder: Path
    stack: LocalStack
    environment: dict[str, str]

    def convert(self, *words: str | Path, name: str = "") -> Used:
        """Convert into the containers of this name, or into new ones without a name."""
        name = name or uuid.uuid4().hex[:12]
        return self.run(
            *(*CONVERT, *words, "--container", f"output-{name}"),
            *("--cleanup.container", f"input-{name}"),
        )

    def run(self, *command: str | Path) -> Used:
        started = time.perf_counter()
        log = self.folder / "command.log"
        with log.open("w") as said:
            process = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdout=said, stderr=said
            )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{command} ended with {process.returncode}: {log.read_text()}")
        return Used(
            seconds=time.perf_counter() - started,
            cpu_seconds=used.ru_utime + used.ru_stime,
            peak_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        )


@contextmanager
def surroundings(*flags: str) -> Iterator[Surroundings]:
    """Run a stack with one node, and a Prefect server, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        root = Path(folder)
        prefect = {"PREFECT_HOME": str(root / "prefect"), "DO_NOT_TRACK": "1"}
        os.environ |= prefect | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # with it, every import would compile again
        (root / "server").mkdir()
        with (
            local_stack(root / "stack", *(flags or ("--nodes", "1"))) as stack,
            running_server(root / "server") as server,
        ):
            environment = os.environ | stack.settings | {"PREFECT_API_URL": server.wait()}
            environment["PATH"] = node_path(root / "links")
            yield Surroundings(root, stack, environment)


def make_clips(folder: Path, count: int, *, like: Path) -> Path:
    """Create copies that differ in a comment, because equal files would be uploaded once."""
    folder.mkdir()
    ffmpeg = shutil.which("ffmpeg", path=node_path(folder.parent / "links")) or "ffmpeg"
    for number in range(count):
        copy = ["-c", "copy", "-metadata", f"comment={number}"]
        target = folder / f"{number:05}{like.suffix}"
        subprocess.run([ffmpeg, "-loglevel", "error", "-i", like, *copy, target], check=True)
    return folder


def make_clip(path: Path, *, seconds: int, size: str, rate: str) -> Path:
    """Create a clip with moving colours and a chord."""
    ffmpeg = shutil.which("ffmpeg", path=node_path(path.parent / "links")) or "ffmpeg"
    video = f"testsrc2=size={size}:rate=25:duration={seconds}"
    wave = "0.2*sin(440*t*PI)+0.2*sin(1331*t)+0.05*random(0)|0.3*sin(523*t*PI)"
    sound = f"aevalsrc={wave}:d={seconds}"
    command = [ffmpeg, "-loglevel", "error", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", sound]
    codecs = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", rate, "-c:a", "aac", "-ar", "44100"]
    subprocess.run([*command, *codecs, path], check=True)
    return path
