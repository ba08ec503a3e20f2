"""Ends what runs on nodes when the service is killed and cannot do it itself.

Run as a script, this file is the reaper: it hears of each process group over a pipe, and when the
pipe closes, it kills those of which it has not heard that they ended.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable


class Reaper:
    """The service's side of the pipe; the process starts with the first group."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self.process: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        self._groups.add(group)
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        """Its number may from now on be that of another process."""
        self._groups.discard(group)
        self._tell(f"-{group}")

    def close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None

    def _tell(self, line: str) -> None:
        try:
            self._write(line)
        except BrokenPipeError:  # it was killed: another is told of all that runs
            self.close()
            for group in self._groups:
                self._write(f"+{group}")

    def _write(self, line: str) -> None:
        if self.process is None:
            self.process = _start()
        assert self.process.stdin is not None  # noqa: S101 - it was started with a pipe
        self.process.stdin.write(f"{line}\n".encode())


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )


def reap(lines: Iterable[str]) -> None:
    """Reads to the end, then kills the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        change = groups.add if line.startswith("+") else groups.discard
        change(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    reap(sys.stdin)
