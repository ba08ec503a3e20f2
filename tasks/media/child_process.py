"""Child processes that read media files: a malicious file can exhaust, block or crash them.

A child reads requests from standard input, one JSON value per line, and answers each with one line.
Its environment contains no account keys.
"""

import json
import os
import resource
import sys
from asyncio import StreamReader, StreamWriter, create_subprocess_exec
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

# Address space. Measured: ten hours of 60 pictures per second need 400 MB, 8K video needs 480 MB.
MEMORY_BYTES = 1 << 30
LONGEST_ANSWER_BYTES = 1 << 20
BROKEN = 1  # exit status of Python after an uncaught exception
PACKAGES = Path(__file__).parents[2]


class ChildProcess:
    """A child process of a module. It starts on first use, and again after it has exited."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._words = (module, *arguments)
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()

    @property
    def is_warm(self) -> bool:
        return self._process is not None

    async def warm_up(self) -> None:
        """Start the child before its first file. A start takes as long as 40 probes."""
        if not self.is_warm:
            self._process = await _start_child(*self._words)

    async def ask(self, request: Any) -> bytes | int:
        """Return the child's answer, or its exit status if it exited instead."""
        await self.warm_up()
        process = cast(Process, self._process)
        with suppress(ConnectionError):  # it has exited: there will be no answer
            cast(StreamWriter, process.stdin).write(json.dumps(request).encode() + b"\n")
        if line := await cast(StreamReader, process.stdout).readline():
            return line
        await process.communicate()
        self._process = None
        return process.returncode or 0

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process:
            with suppress(ProcessLookupError):
                process.kill()  # whoever asked does not wait for what it writes
            await process.communicate()


async def _start_child(module: str, *arguments: str) -> Process:
    return await create_subprocess_exec(
        *(sys.executable, "-P", "-m", module, *arguments),
        stdin=PIPE,
        stdout=PIPE,
        env=environment_without_accounts() | {"PYTHONPATH": os.fspath(PACKAGES)},
        limit=LONGEST_ANSWER_BYTES,
        start_new_session=True,  # only the parent handles Ctrl-C
    )


def environment_without_accounts() -> dict[str, str]:
    secret = ("AZURE_", "LOCAL_AZURE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(secret)}


def limit_memory() -> None:
    """Limit the memory of this process."""
    with suppress(ValueError, OSError):  # macOS does not support this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
