"""Kills the processes on nodes after the service was killed.

Run as a script, this file is the reaper. It reads from a pipe which process groups start and end.
When the pipe closes, it kills the groups that have not ended. Each process writes its own group to
the pipe before it executes its command, and holds the pipe open until then, so that none is missed.

The process does this in sh. In Python (`preexec_fn`) the service would be forked with all of its
memory, which takes four times as long.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import IO

# Stdin is the pipe. If the reaper was killed, SIGPIPE must not end the process. The variables that
# sh adds are removed again.
_TELL_AND_EXECUTE = (
    'trap "" PIPE; echo "$1 $$" >&0 2>/dev/null; trap - PIPE; unset PWD OLDPWD SHLVL; shift; '
    'exec "$@" </dev/null'
)


class Reaper:
    """The service's end of the pipe. Groups have tickets, because process ids are reused."""

    def __init__(self) -> None:
        self._groups: dict[int, int] = {}
        self._tickets = itertools.count(1)
        self.process: subprocess.Popen[bytes] | None = None

    def expect(self) -> tuple[int, list[str], IO[bytes]]:
        """Return a ticket for a new process, the words before its command, and its stdin."""
        ticket = next(self._tickets)
        return ticket, ["/bin/sh", "-c", _TELL_AND_EXECUTE, "sh", str(ticket)], self._pipe()

    def watch(self, ticket: int, group: int) -> None:
        """Tell the reaper again: the one that the process wrote to may be dead."""
        self._groups[ticket] = group
        self._tell(_line(ticket, group))

    def forget(self, ticket: int) -> None:
        """Tell the reaper that the process has ended, before its id is reused."""
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
        except BrokenPipeError:  # the reaper was killed: start another, and tell it all groups
            self.close()
            for ticket, group in self._groups.items():
                os.write(self._pipe().fileno(), _line(ticket, group))

    def _pipe(self) -> IO[bytes]:
        if self.process is None:
            self.process = _start()
        assert self.process.stdin is not None  # noqa: S101  started with a pipe
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
    """Read to the end of the pipe, then kill the groups that are left."""
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
