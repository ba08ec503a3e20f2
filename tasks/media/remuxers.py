"""Runs the remuxing of excerpts in child processes, and keeps their files for as long as needed.

The files are in a temporary folder that is private to the user. There are at most as many of them
at a time as files are uploaded in parallel, each of at most 1 GiB, and all together they take at
most half of the free space. A child that has lost its parent deletes the folder.
"""

import asyncio
import json
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tasks.media.child_process import BROKEN, ChildProcess, limit_memory
from tasks.media.fidelity import Unfit
from tasks.media.remux import remux
from tasks.models import Excerpt, Extent, Source

MOST_BYTES = 1 << 30  # of an excerpt
BYTES_PER_PROCESS = 1 << 30  # of sources: a second process starts later than it helps with less
LEAST_SECONDS = 60  # for one file
BYTES_PER_SECOND = 4_000_000  # a slower disk is slower than the line
logger = logging.getLogger(__name__)


def process_count(source_bytes: int) -> int:
    return min(os.cpu_count() or 1, 1 + source_bytes // BYTES_PER_PROCESS)


class Remuxers:
    """Child processes that write excerpts. The first one starts before its first file."""

    def __init__(self, *, source_bytes: int, at_once: int) -> None:
        self._at_once = at_once
        self._is_needed = source_bytes > 0
        self._is_broken = False
        self._folder = ""  # before the start
        self._count = min(at_once, process_count(source_bytes))
        self._all: list[ChildProcess] = []
        self._idle: asyncio.LifoQueue[ChildProcess] = asyncio.LifoQueue()

    async def __aenter__(self) -> Self:
        try:
            self._folder = tempfile.mkdtemp(prefix="batch-convert-")
            self._all = [ChildProcess(__name__, self._folder) for _ in range(self._count)]
            for process in self._all:
                self._idle.put_nowait(process)
            if self._is_needed:
                await self._all[-1].warm_up()
        except OSError as error:
            self._give_up(error)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            for process in self._all:
                await process.kill()
        finally:
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _give_up(self, reason: object) -> None:
        if not self._is_broken:
            logger.warning("Whole files are sent, not only their sound: %s", reason)
        self._is_broken = True

    @asynccontextmanager
    async def excerpt_file(
        self, source: Source, excerpt: Excerpt, claims: Sequence[Extent]
    ) -> AsyncIterator[Path | None]:
        """Yield a file with the excerpt, or None if the whole source must be sent."""
        name = self._make_file()
        try:
            is_fit = bool(name) and await self._write(source, excerpt, claims, name)
            yield Path(name) if is_fit else None
        finally:
            if name:
                with suppress(FileNotFoundError):
                    os.unlink(name)  # noqa: PTH108  quick

    def _make_file(self) -> str:
        """Return the name of a new file. "": there can be none."""
        if self._is_broken:
            return ""
        try:
            handle, name = tempfile.mkstemp(dir=self._folder)
        except OSError as error:
            self._give_up(error)
            return ""
        os.close(handle)
        return name

    async def _write(
        self, source: Source, excerpt: Excerpt, claims: Sequence[Extent], target: str
    ) -> bool:
        request = {
            "location": source.location,
            "target": target,
            "excerpt": asdict(excerpt),
            "claims": [asdict(claim) for claim in claims],
            "most_bytes": self._most_bytes(source),
            "seconds": LEAST_SECONDS + source.size_bytes // BYTES_PER_SECOND,
        }
        reason = await self._ask(request)
        if reason:
            logger.debug("%s is sent whole: %s", source.name, reason)
        return not reason

    async def _ask(self, request: dict[str, Any]) -> str:
        """Return why the excerpt is unfit. "": it is fit."""
        process = await self._idle.get()
        try:
            answer = await process.ask(request)
        except OSError as error:  # it cannot start
            self._give_up(error)
            return str(error)
        except BaseException:
            await process.kill()  # its next answer would be that to this request
            raise
        finally:
            self._idle.put_nowait(process)
        if isinstance(answer, bytes):
            return str(json.loads(answer))
        if answer == BROKEN:
            self._give_up("the process that reads them does not work")
        return f"the process ended with status {answer}"

    def _most_bytes(self, source: Source) -> int:
        free_bytes = shutil.disk_usage(self._folder).free
        return min(MOST_BYTES, source.size_bytes, free_bytes // 2 // self._at_once)


def answer_requests(folder: str) -> None:
    """Answer until standard input ends. Then the parent has no use for the folder either."""
    limit_memory()
    import av  # noqa: F401  before the first request

    for line in sys.stdin:
        request = json.loads(line)
        signal.alarm(request["seconds"])
        reason = write_or_reason(request)
        signal.alarm(0)
        print(json.dumps(reason), flush=True)  # noqa: T201  the parent reads it
    shutil.rmtree(folder, ignore_errors=True)


def write_or_reason(request: dict[str, Any]) -> str:
    """Write an excerpt. Return why it is unfit. "": it is fit."""
    limit_file_size(request["most_bytes"])
    excerpt = request["excerpt"]
    try:
        remux(
            request["location"],
            request["target"],
            Excerpt(**(excerpt | {"tracks": tuple(excerpt["tracks"])})),
            [Extent(**claim) for claim in request["claims"]],
        )
    except Unfit as unfit:
        return str(unfit)
    except Exception as error:  # noqa: BLE001  the whole file can be sent
        return f"{type(error).__name__}: {error}"
    return ""


def limit_file_size(size_bytes: int) -> None:
    """Make it an error to write more to a file: Python ignores the signal."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    allowed = size_bytes if most == resource.RLIM_INFINITY else min(size_bytes, most)
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, most))


if __name__ == "__main__":
    answer_requests(sys.argv[1])
