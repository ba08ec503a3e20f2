"""Programs that tests start, and the processes that are left of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

END_SECONDS = 60


class Program:
    """A Python program in a session of its own, with a pipe from the test to its stdin."""

    def __init__(self, *arguments: str | Path, cwd: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            text=True,
            start_new_session=True,
        )

    def wait_until(self, line: str) -> list[str]:
        """Return the lines that the program prints before `line`."""
        assert self.process.stdout
        before: list[str] = []
        while (printed := self.process.stdout.readline()) != f"{line}\n":
            assert printed, (before, self.end())  # the program has ended
            before.append(printed)
        return before

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program, but not to its children."""
        os.kill(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """Close stdin, wait for the end, and return exit status, stdout and stderr."""
        stdout, stderr = self.process.communicate(timeout=END_SECONDS)
        return self.process.returncode, stdout, stderr


def processes_of(path: Path) -> list[int]:
    """Return the processes that have `path` in their command lines."""
    listing = subprocess.run(
        ["/bin/ps", "-A", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if str(path) in line]


def all_end(path: Path) -> bool:
    """Return whether the processes that have `path` in their command lines end in time."""
    deadline = time.monotonic() + END_SECONDS
    while processes_of(path) and time.monotonic() < deadline:
        time.sleep(0.02)  # leaves the processor to those that end
    return not processes_of(path)
