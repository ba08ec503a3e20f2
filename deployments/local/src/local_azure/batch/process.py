"""A command in a process group of its own: no shell, a clean environment, output to files."""

import asyncio
import contextlib
import errno
import os
import re
import shlex
import signal
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from local_azure.batch import node_files
from local_azure.batch.clock import Clock
from local_azure.batch.descendants import Descendants
from local_azure.batch.reaper import Reaper
from local_azure.batch.run import Failure

GRACE_SECONDS = 0.5
_KEPT_BY_SH = re.compile(r"(?!(?:IFS|OLDPWD|OPTIND|PPID|PWD|SHLVL|_)$)[A-Za-z_][A-Za-z0-9_]*")


class LaunchError(Exception):
    """A command line could not be started."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


@dataclass(kw_only=True, eq=False)
class Process:
    process: asyncio.subprocess.Process
    folder: Path
    reaper: Reaper
    descendants: Descendants
    ticket: int

    def __post_init__(self) -> None:
        self.reaper.watch(self.ticket, self.process.pid, str(self.folder))

    @classmethod
    async def launch(
        cls,
        command_line: str,
        *,
        folder: Path,
        environment: Mapping[str, str],
        reaper: Reaper,
        descendants: Descendants,
    ) -> Self:
        """Start the command in `folder`/wd, with stdout.txt and stderr.txt in `folder`."""
        ticket, first_words, pipe = reaper.expect()
        try:
            words = shlex.split(command_line)
            find_program(words, folder=folder / "wd", path=environment.get("PATH", ""))
            with (
                node_files.open_own(folder / "stdout.txt", "wb") as stdout,
                node_files.open_own(folder / "stderr.txt", "wb") as stderr,
            ):
                process = await asyncio.create_subprocess_exec(
                    *first_words,
                    *_what_sh_would_not_keep(environment),
                    *words,
                    cwd=folder / "wd",
                    env=environment,
                    stdin=pipe,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            reaper.forget(ticket)
            raise LaunchError(_launch_failure(error, command_line)) from error
        return cls(
            process=process, folder=folder, reaper=reaper, descendants=descendants, ticket=ticket
        )

    async def wait(self, clock: Clock, deadline: datetime | None) -> int | None:
        """Return the exit code (128 + n after signal n), or None if the deadline came first."""
        try:
            if deadline is None:
                return _exit_code(await self.process.wait())
            return await self._wait_until(clock, deadline)
        finally:
            await _through(self._end_group())

    async def _wait_until(self, clock: Clock, deadline: datetime) -> int | None:
        exited = asyncio.ensure_future(self.process.wait())
        timer = asyncio.ensure_future(clock.sleep_until(deadline))
        try:
            await asyncio.wait({exited, timer}, return_when=asyncio.FIRST_COMPLETED)
            return _exit_code(exited.result()) if exited.done() else None
        finally:
            exited.cancel()
            timer.cancel()

    async def _end_group(self) -> None:
        """End the process, all others in its group, and its descendants in other groups."""
        if self.process.returncode is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), GRACE_SECONDS)
        self._signal(signal.SIGKILL)
        await self.process.wait()
        await self.descendants.end(self.folder)
        self.reaper.forget(self.ticket)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def find_program(words: Sequence[str], *, folder: Path, path: str) -> None:
    """Check that the program exists: the process starts as sh, which would hide the error.

    Raises:
        OSError: The program cannot be executed in `folder`.
    """
    if not words:
        raise ValueError("The command line is empty")
    name = words[0]
    places = [""] if "/" in name else path.split(os.pathsep)
    files = [file for place in places if (file := folder / place / name).is_file()]
    if not any(os.access(file, os.X_OK) for file in files):
        number = errno.EACCES if files else errno.ENOENT
        raise OSError(number, os.strerror(number), name)


def _what_sh_would_not_keep(environment: Mapping[str, str]) -> list[str]:
    """Return words that set the variables which sh drops or changes."""
    lost = [f"{n}={value}" for n, value in environment.items() if not _KEPT_BY_SH.fullmatch(n)]
    return ["/usr/bin/env", *lost] if lost else []


async def _through(work: Coroutine[Any, Any, None]) -> None:
    """Finish `work` even if cancelled, then re-raise."""
    worker = asyncio.ensure_future(work)
    try:
        await asyncio.shield(worker)
    except asyncio.CancelledError:
        await worker
        raise


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code


def _launch_failure(error: Exception, command_line: str) -> Failure:
    missing = isinstance(error, FileNotFoundError)
    return Failure(
        code="CommandProgramNotFound" if missing else "CommandLaunchFailed",
        message=(
            "The specified command program is not found"
            if missing
            else "Failed to launch the specified command line"
        ),
        details={"Command": command_line, "Message": str(error)},
    )
