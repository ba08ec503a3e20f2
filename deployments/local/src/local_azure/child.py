"""A child process that ends with its parent, even if the parent is killed.

Run as a script, this file is the guard between the two. It starts the command in a session of its
own, which a terminal's Ctrl-C does not reach, and ends it when the pipe from the parent closes.
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
    """Start `command` under a guard, with stdout and stderr in `log`."""
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
    """End the command, and return its exit status."""
    if child.stdin:
        child.stdin.close()
    return child.wait()


def guard(command: Sequence[str], *, grace_seconds: float) -> int:
    """Run `command` until it ends, stdin closes or a signal comes; return its status.

    As in a shell, 128 + n is the status after signal n.
    """
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
    """Return when stdin has closed. Do not read through Python's buffer: its lock would stay."""
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
    # macOS refuses to signal a group that has only zombies left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(guard(sys.argv[2:], grace_seconds=float(sys.argv[1])))
