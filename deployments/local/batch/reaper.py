"""Ends what runs on nodes when the service is killed and cannot do it itself.

Run as a script, this file is the reaper: it hears of each process group over a pipe, and when the
pipe closes, it kills those of which it has not heard that they ended. A process tells of itself
before it executes its command, and holds the pipe open until then: none is ever unheard of.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable


class Reaper:
    """The service's side of the pipe. Groups go by tickets: a number may come twice."""

    def __init__(self) -> None:
        self._groups: dict[int, int] = {}
        self._tickets = itertools.count(1)
        self.process: subprocess.Popen[bytes] | None = None

    def expect(self) -> tuple[int, Callable[[], None]]:
        """A ticket for a process to come, and what it is to call before it executes its command."""
        ticket, pipe = next(self._tickets), self._pipe()

        def report() -> None:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # the reaper may have been killed
            with contextlib.suppress(BrokenPipeError):
                os.write(pipe, _line(ticket, os.getpid()))
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)

        return ticket, report

    def watch(self, ticket: int, group: int) -> None:
        """Hear of it again: the reaper to which it has told of itself may be dead."""
        self._groups[ticket] = group
        self._tell(_line(ticket, group))

    def forget(self, ticket: int) -> None:
        """Its number may from now on be that of another process."""
        self._groups.pop(ticket, None)
        self._tell(_line(ticket))

    def close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None

    def _tell(self, line: bytes) -> None:
        try:
            os.write(self._pipe(), line)
        except BrokenPipeError:  # it was killed: another is told of all that runs
            self.close()
            for ticket, group in self._groups.items():
                os.write(self._pipe(), _line(ticket, group))

    def _pipe(self) -> int:
        if self.process is None:
            self.process = _start()
        assert self.process.stdin is not None  # noqa: S101 - it was started with a pipe
        return self.process.stdin.fileno()


def _line(*numbers: int) -> bytes:
    return b"%s\n" % " ".join(map(str, numbers)).encode()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )


def reap(lines: Iterable[str]) -> None:
    """Reads to the end, then kills the groups that are left."""
    groups: dict[str, int] = {}
    for line in lines:
        ticket, *started = line.split()
        if started:
            groups[ticket] = int(started[0])
        else:
            groups.pop(ticket, None)
    for group in groups.values():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    reap(sys.stdin)
