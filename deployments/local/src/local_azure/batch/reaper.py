"""Kills the processes on nodes after the service was killed.

Run as a script, this file is the reaper. It reads from a pipe which process groups start and end.
When the pipe closes, it kills the groups that have not ended, and their descendants in other
groups. Each process writes its own group to the pipe before it executes its command, and holds the
pipe open until then, so that none is missed.

The process does this in sh. In Python (`preexec_fn`) the service would be forked with all of its
memory, which takes four times as long.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from typing import IO

TASK_FOLDER = b"AZ_BATCH_TASK_DIR="  # begins the variable that marks all descendants of a task
OUTPUTS = ("/stdout.txt", "/stderr.txt")  # in the task's folder, of the command and its descendants
END_SECONDS = 5.0  # for killed processes to disappear
PAUSE_SECONDS = 0.005

# Stdin is the pipe. If the reaper was killed, SIGPIPE must not end the process. The variables that
# sh adds are removed again.
_TELL_AND_EXECUTE = (
    'trap "" PIPE; printf "%s\\n" "$1 $$ $AZ_BATCH_TASK_DIR" >&0 2>/dev/null; trap - PIPE; '
    'unset PWD OLDPWD SHLVL; shift; exec "$@" </dev/null'
)


class Reaper:
    """The service's end of the pipe. Groups have tickets, because process ids are reused."""

    def __init__(self) -> None:
        self._groups: dict[int, tuple[int, str]] = {}
        self._tickets = itertools.count(1)
        self.process: subprocess.Popen[bytes] | None = None

    def expect(self) -> tuple[int, list[str], IO[bytes]]:
        """Return a ticket for a new process, the words before its command, and its stdin."""
        ticket = next(self._tickets)
        return ticket, ["/bin/sh", "-c", _TELL_AND_EXECUTE, "sh", str(ticket)], self._pipe()

    def watch(self, ticket: int, group: int, task_folder: str) -> None:
        """Tell the reaper again: the one that the process wrote to may be dead."""
        self._groups[ticket] = group, task_folder
        self._tell(_line(ticket, group, task_folder))

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
                os.write(self._pipe().fileno(), _line(ticket, *group))

    def _pipe(self) -> IO[bytes]:
        if self.process is None:
            self.process = _start()
        assert self.process.stdin is not None  # noqa: S101  started with a pipe
        return self.process.stdin


def _line(*words: int | str) -> bytes:
    return os.fsencode(" ".join(map(str, words))) + b"\n"


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )


def reap(lines: Iterable[bytes]) -> None:
    """Read to the end of the pipe, then kill the groups that are left, and their descendants."""
    groups: dict[bytes, tuple[int, str]] = {}
    for line in lines:
        ticket, *started = line.rstrip(b"\n").split(b" ", 2)
        if started:
            groups[ticket] = int(started[0]), os.fsdecode(started[1])
        else:
            groups.pop(ticket, None)
    for group, _ in groups.values():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    end_processes({folder for _, folder in groups.values()})


def end_processes(task_folders: Collection[str]) -> None:
    """Kill all processes of these tasks, also those that left the task's session and group.

    This needs /proc, so on macOS it does nothing.
    """
    deadline = time.monotonic() + END_SECONDS
    while task_folders and time.monotonic() < deadline:
        found = [process for process, folder in _descendants() if folder in task_folders]
        if not found:
            return
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(PAUSE_SECONDS)


def _descendants() -> Iterator[tuple[int, str]]:
    """Yield all processes that tasks have started, with the folder of their task."""
    names = os.listdir("/proc") if os.path.isdir("/proc") else []  # noqa: PTH112, PTH208  pathlib is slow to import
    for name in names:
        if name.isdecimal() and (folder := _task_folder(f"/proc/{name}")):
            yield int(name), folder


def _task_folder(process: str) -> str | None:
    """Return the folder of the task that the process belongs to, by its environment or outputs."""
    try:
        with open(f"{process}/environ", "rb", buffering=0) as file:  # noqa: PTH123  as above
            _, found, rest = (b"\0" + file.read()).partition(b"\0" + TASK_FOLDER)
        if found:
            return os.fsdecode(rest.partition(b"\0")[0])
        for output in (1, 2):  # its environment may be empty
            target = os.readlink(f"{process}/fd/{output}").removesuffix(" (deleted)")  # noqa: PTH115  as above
            if target.endswith(OUTPUTS):
                return target.rpartition("/")[0]
    except OSError:  # it has ended, or is not ours
        pass
    return None


if __name__ == "__main__":
    reap(sys.stdin.buffer)
