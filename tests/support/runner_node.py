"""Runs runner.sh as a node does: in the working folder of a batch task."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tasks.media.presets import PRESETS

RUNNER = Path(__file__).parents[2] / "tasks" / "media" / "runner.sh"
EX_DATAERR = 65


@dataclass(frozen=True)
class RunnerResult:
    """The exit status, the messages and the folder of one run."""

    status: int
    stderr: str
    folder: Path

    @property
    def last_line(self) -> str:
        return self.stderr.splitlines()[-1]

    @property
    def seconds(self) -> float:
        (marker,) = self.folder.glob("seconds-*")
        assert re.fullmatch(r"seconds-\d+\.\d{3}", marker.name)
        assert marker.stat().st_size == 0
        return float(marker.name.removeprefix("seconds-"))


@dataclass(frozen=True)
class Node:
    """The working folder of a batch task, with the file `input`, and the PATH of the runner."""

    folder: Path
    path: str
    shell: tuple[str, ...] = ("/bin/sh",)

    def run(
        self, *arguments: str, output: str = "output.mp3", seconds: str | float | None = ""
    ) -> RunnerResult:
        done = subprocess.run(
            [*self.shell, str(RUNNER)],
            cwd=self.folder,
            env=self.environment(
                arguments or PRESETS["mp3"].arguments,
                output=output,
                seconds="" if seconds is None else str(seconds),
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return RunnerResult(done.returncode, done.stderr, self.folder)

    def environment(
        self, arguments: tuple[str, ...], *, output: str, seconds: str
    ) -> dict[str, str]:
        return {
            "PATH": self.path,
            "OUTPUT": output,
            "SOURCE_SECONDS": seconds,
            "FFMPEG_ARGUMENTS": "\n".join(arguments),
        }
