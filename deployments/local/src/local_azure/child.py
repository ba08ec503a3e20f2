"""A child process that ends with its parent, in whatever way the parent ends.

Run as a script, this file is the guard between the two: it starts the command in a session of its
own, out of reach of a terminal's Ctrl-C, and ends it when the pipe from the parent closes.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO


def start_child(
    command: Sequence[str | Path],
    *,
    log: IO[bytes],
    folder: Path,
    environment: Mapping[str, str],
    grace_seconds: float = 5,
) -> subprocess.Popen[bytes]:
    """Start `command` under a guard; both its streams go to `log`."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(grace_seconds), *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )


def stop_child(child: subprocess.Popen[bytes]) -> int:
    """End the command, within its grace, and tell its exit status."""
    if child.stdin:
        child.stdin.close()
    return child.wait()


def guard(command: Sequence[str], *, grace_seconds: float) -> int:
    """Run `command` until it ends, stdin closes or a signal comes; its status, as a shell says."""
    ended, end = os.pipe()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.write(end, b"."))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    for wait in (process.wait, wait_for_eof):
        threading.Thread(target=_then_write, args=(wait, end), daemon=True).start()
    os.read(ended, 1)
    _end_group(process, grace_seconds)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def wait_for_eof() -> None:
    """Return when stdin has closed, reading past Python's buffer, whose lock outlives a thread."""
    while os.read(0, 4096):
        pass


def _then_write(wait: Callable[[], object], end: int) -> None:
    wait()
    os.write(end, b".")


def _end_group(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # macOS refuses to signal a group of which only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(guard(sys.argv[2:], grace_seconds=float(sys.argv[1])))
