"""The local stack of a command: one that already runs, or one that the command starts."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_azure import env_file
from local_azure.errors import StackError, StackUsageError
from local_azure.folder import DataFolder
from local_azure.locks import Lock
from local_azure.ports import answers
from local_azure.settings import ports

READY = "ready"
STAYING = "staying"
START_SECONDS = 600  # another command may be installing Azurite
STOP_SECONDS = 30


@contextmanager
def running_stack(data: Path | None = None) -> Iterator["Stack"]:
    """Keep a stack running on the data folder during the block. It may still be starting.

    Raises:
        StackUsageError: The data folder cannot be used.
    """
    stack = Stack(DataFolder.at(data))
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


class Stack:
    """A use of a data folder's stack, and the stack's process if this object started it."""

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self.users = Lock.at(folder.users)
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Keep a running stack from stopping, or start one."""
        self.users.share()
        self._start_if_none_runs()

    def wait(self) -> dict[str, str]:
        """Wait until the stack is ready, and return its settings.

        Raises:
            StackError: The stack does not start, or another one runs there without storage.
        """
        deadline = time.monotonic() + START_SECONDS
        while self.process is None and time.monotonic() < deadline:
            if settings := running_settings(self.folder):
                return with_storage(settings, self.folder)
            time.sleep(0.05)
            self._start_if_none_runs()
        if self.process is None:
            raise StackError(
                f"The stack on {self.folder.path} was not ready within {START_SECONDS} s.",
                "Stop it, and try again.",
            )
        await_ready(self.process, self.folder)
        return env_file.read(self.folder.settings)

    def stop(self) -> None:
        """Stop using the stack; stop the one that this object started, unless others use it."""
        self.users.close()
        if self.process is not None:
            stop_process(self.process)

    def _start_if_none_runs(self) -> None:
        lock = Lock.at(self.folder.lock)
        try:
            if lock.try_exclude():
                self.process = start_process(self.folder, lock)
        finally:
            lock.close()


def start_process(folder: DataFolder, lock: Lock) -> subprocess.Popen[str]:
    """Start a stack that takes over the data folder's lock, and ends after its stdin closes."""
    # -P: the current folder may have a `local_azure` of its own.
    program = [sys.executable, "-P", "-m", "local_azure", "--until-stdin-closes"]
    nodes = max(1, (os.cpu_count() or 1) // 2)  # real work, and most nodes have two cores
    flags = ["--nodes", str(nodes), "--lock-descriptor", str(lock.descriptor)]
    with folder.log("stack").open("w") as log:
        return subprocess.Popen(
            [*program, "--data", folder.path, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            pass_fds=[lock.descriptor],
            start_new_session=True,
        )


def await_ready(process: subprocess.Popen[str], folder: DataFolder) -> None:
    """Print the stack's messages until it prints that it is ready."""
    for line in process.stdout or []:
        if line.rstrip() == READY:
            return
        if not env_file.is_setting(line):
            print(line, end="", file=sys.stderr, flush=True)  # noqa: T201  messages of the stack
    lines = folder.log("stack").read_text(errors="replace").splitlines()
    words = lines[-1].removeprefix("error: ") if lines else "it printed no error"
    raise StackError(
        f"The local Azure did not start: {words}", f"Its log is {folder.log('stack')}."
    )


def stop_process(process: subprocess.Popen[str]) -> None:
    """Close the stack's stdin, and wait until it ends or prints that other commands use it."""
    timer = threading.Timer(STOP_SECONDS, process.kill)
    timer.start()
    try:
        if process.stdin:
            process.stdin.close()
        if not any(line.rstrip() == STAYING for line in process.stdout or []):
            process.wait()
    finally:
        timer.cancel()


def with_storage(settings: dict[str, str], folder: DataFolder) -> dict[str, str]:
    """Return the settings of a stack that someone else started, if it has storage.

    Raises:
        StackUsageError: It was started with `--no-storage`.
    """
    if not any(name.startswith("AZURE_STORAGE_") for name in settings):
        raise StackUsageError(
            f"The stack on {folder.path} runs without storage.",
            "Stop it, and start it without --no-storage.",
        )
    return settings


def running_settings(folder: DataFolder) -> dict[str, str] | None:
    """Return the settings of a stack that answers. A killed stack leaves its file behind."""
    try:
        settings = env_file.read(folder.settings)
    except FileNotFoundError:
        return None
    return settings if all(answers(port) for port in ports(settings)) else None
