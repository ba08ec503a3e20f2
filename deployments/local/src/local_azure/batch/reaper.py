"""Ends what runs on nodes when the service is killed and cannot do it itself.

Run as a script, this file is the reaper: it hears of each process group over a pipe, and when the
pipe closes, it kills those of which it has not heard that they ended. A process tells of itself
before it executes its command, and holds the pipe open until then: none is ever unheard of.

It does so in sh: in Python (`preexec_fn`) the service would be forked with all of its memory, which
takes four times as long.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import IO

# Its input is the pipe. The reaper may have been killed: that is no signal to end. What sh adds to
# an environment goes again.
_TELL_AND_EXECUTE = (
    'trap "" PIPE; echo "$1 $$" >&0 2>/dev/null; trap - PIPE; unset PWD OLDPWD SHLVL; shift; '
    'exec "$@" </dev/null'
)


class Reaper:
    """The service's side of the pipe. Groups go by tickets: a number may come twice."""

    def __init__(self) -> None:
        self._groups: dict[int, int] = {}
        self._tickets = itertools.count(1)
        self.process: subprocess.Popen[bytes] | None = None

    def expect(self) -> tuple[int, list[str], IO[bytes]]:
        """A ticket for a process to come, the words before its command, and what is its input."""
        ticket = next(self._tickets)
        return ticket, ["/bin/sh", "-c", _TELL_AND_EXECUTE, "sh", str(ticket)], self._pipe()

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
            os.write(self._pipe().fileno(), line)
        except BrokenPipeError:  # it was killed: another is told of all that runs
            self.close()
            for ticket, group in self._groups.items():
                os.write(self._pipe().fileno(), _line(ticket, group))

    def _pipe(self) -> IO[bytes]:
        if self.process is None:
            self.process = _start()
        assert self.process.stdin is not None  # noqa: S101 - it was started with a pipe
        return self.process.stdin


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
