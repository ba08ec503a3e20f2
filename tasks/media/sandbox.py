"""Probes media in child processes: hostile files fill a process's memory, never end, or crash it.

A child reads locations from its standard input, one JSON string a line, and answers each by a line.
It dies of what is too much, and another takes its place. Addresses with their signatures pass
through the pipe alone, and the children have no key in their environment.
"""

import asyncio
import json
import os
import resource
import signal
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tasks.concurrency import map_concurrently
from tasks.media.probe import Media, Stream, UnreadableMedia, probe

SECONDS = 60  # for one file
MEMORY_BYTES = 1 << 30  # of addresses; ten hours of 60 pictures a second take 400 MB, 8K 480 MB
OUT_OF_MEMORY = 3  # a child's exit status
REASONS = {
    OUT_OF_MEMORY: f"it takes more than {MEMORY_BYTES >> 30} GiB of memory to look into:"
    " it is damaged, or made to do harm",
    -signal.SIGALRM: "it takes too long to look into",
}
FILES_A_CHILD = 64  # in the time that a child takes to start, it could look into more
CRASHED = "whoever looks into it crashes: it is damaged, or made to do harm"
BROKEN = 1  # the exit status of a Python program with an error
PACKAGES = Path(__file__).parents[2]

Finding = Media | UnreadableMedia


async def probe_each(
    locations: Iterable[str], *, count: int, first: "Prober | None" = None
) -> list[Finding]:
    """What is in each of so many, in their order; see `probe`. The `first` may be warm by now."""
    waiting = enumerate(locations)
    found: dict[int, Finding] = {}

    async def work(prober: Prober) -> None:
        async with prober:
            for number, location in waiting:  # all workers draw from one source
                found[number] = await prober.look(location)

    probers = [first or Prober(), *(Prober() for _ in range(1, children_for(count)))]
    await map_concurrently(work, probers, at_once=len(probers))
    return [found[number] for number in range(len(found))]


def children_for(count: int) -> int:
    return min((os.cpu_count() or 1) + 1, 1 + count // FILES_A_CHILD)


class Prober:
    """A child process, started when it is first needed, and anew when it has died."""

    def __init__(self) -> None:
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        if process:
            with suppress(ProcessLookupError):
                process.kill()  # it has nothing to lose
            await process.communicate()

    @property
    def is_warm(self) -> bool:
        return self._process is not None

    async def warm_up(self) -> None:
        """Start the child ahead of its first file: it takes as long as to look into 40."""
        if not self.is_warm:
            self._process = await start_child()

    async def look(self, location: str) -> Finding:
        """What is in the file, or why that cannot be told.

        Raises:
            RuntimeError: the child cannot work at all; its own words are on standard error.
        """
        await self.warm_up()
        process = cast(Process, self._process)
        cast(StreamWriter, process.stdin).write(json.dumps(location).encode() + b"\n")
        if line := await cast(StreamReader, process.stdout).readline():
            return read_answer(line)
        await process.communicate()
        status, self._process = process.returncode, None
        if status == BROKEN:
            raise RuntimeError("the program that looks into media is broken")
        return UnreadableMedia(REASONS.get(status or 0, CRASHED))


async def start_child() -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__, str(SECONDS)),
        stdin=PIPE,
        stdout=PIPE,
        env=without_accounts() | {"PYTHONPATH": os.fspath(PACKAGES)},
        start_new_session=True,  # a terminal's Ctrl-C is its parent's business
    )


def without_accounts() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AZURE_")}


def read_answer(line: bytes) -> Finding:
    answer = json.loads(line)
    if reason := answer.get("reason"):
        return UnreadableMedia(reason)
    streams = {kind: answer[kind] and Stream(**answer[kind]) for kind in ("audio", "video")}
    return Media(**(answer | streams))


def answer(location: str) -> Media | dict[str, str]:
    try:
        return probe(location)
    except UnreadableMedia as error:
        return {"reason": str(error)}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  one odd file must not end the run
        return {
            "reason": f"it cannot be looked into ({type(error).__name__}): it is odd, or damaged"
        }


def serve(*, seconds: int) -> None:
    """Answer until standard input ends, or a file is too much."""
    with suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        signal.alarm(seconds)
        try:
            found = answer(json.loads(line))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # with what fills the memory
        signal.alarm(0)
        print(json.dumps(found, default=by_field), flush=True)  # noqa: T201  its parent listens


def by_field(part: Media | Stream) -> dict[str, Any]:
    # `asdict` copies each value: a fifth of what a small file's probe takes.
    return {name: getattr(part, name) for name in part.__slots__}


if __name__ == "__main__":
    serve(seconds=int(sys.argv[1]))
