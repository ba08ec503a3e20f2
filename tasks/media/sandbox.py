"""Runs the media probe in child processes: a malicious file can exhaust, block or crash it.

A child reads locations from standard input, one JSON string per line, and answers each with one
line. It exits if a file exceeds the limits, and a new child replaces it. URLs with SAS tokens pass
only through the pipe, and the environment of the children contains no account keys.
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
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tasks.concurrency import map_concurrently
from tasks.media.pictures import PictureFormat
from tasks.media.probe import probe
from tasks.media.streams import Media, Sound, Stream, UnreadableMedia

SECONDS = 60  # for one file
# Address space. Measured: ten hours of 60 pictures per second need 400 MB, 8K video needs 480 MB.
MEMORY_BYTES = 1 << 30
OUT_OF_MEMORY = 3  # exit status of a child
REASONS = {
    OUT_OF_MEMORY: f"the media probe needs more than {MEMORY_BYTES >> 30} GiB of memory:"
    " the file is damaged or malicious",
    -signal.SIGALRM: f"the media probe takes longer than {SECONDS} seconds",
}
LONGEST_ANSWER_BYTES = 1 << 20
FILES_PER_PROCESS = 64  # with fewer, the start of another child takes longer than it saves
CRASHED = "the media probe crashed: the file is damaged or malicious"
BROKEN = 1  # exit status of Python after an uncaught exception
PACKAGES = Path(__file__).parents[2]

ProbeResult = Media | UnreadableMedia


async def probe_each(
    locations: Iterable[str], *, count: int, first: "ProbeProcess | None" = None
) -> list[ProbeResult]:
    """Probe the locations in parallel and return the results in their order.

    `count` is the number of locations. `first` is a process that may already be running.
    """
    waiting = enumerate(locations)
    found: dict[int, ProbeResult] = {}

    async def probe_waiting(process: ProbeProcess) -> None:
        async with process:
            for number, location in waiting:  # the processes share one iterator
                found[number] = await process.probe(location)

    processes = [first or ProbeProcess(), *(ProbeProcess() for _ in range(1, process_count(count)))]
    await map_concurrently(probe_waiting, processes, at_once=len(processes))
    return [found[number] for number in range(len(found))]


def process_count(files: int) -> int:
    return min((os.cpu_count() or 1) + 1, 1 + files // FILES_PER_PROCESS)


class ProbeProcess:
    """A child process that probes files. It starts on first use, and again after it has exited."""

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
                process.kill()  # it only reads, so nothing is lost
            await process.communicate()

    @property
    def is_warm(self) -> bool:
        return self._process is not None

    async def warm_up(self) -> None:
        """Start the child before its first file. A start takes as long as 40 probes."""
        if not self.is_warm:
            self._process = await start_child()

    async def probe(self, location: str) -> ProbeResult:
        """Return the media in the file, or why it is unreadable.

        Raises:
            RuntimeError: The child does not work at all. Its traceback is on stderr.
        """
        await self.warm_up()
        process = cast(Process, self._process)
        cast(StreamWriter, process.stdin).write(json.dumps(location).encode() + b"\n")
        if line := await cast(StreamReader, process.stdout).readline():
            return read_answer(line)
        await process.communicate()
        status, self._process = process.returncode, None
        if status == BROKEN:
            raise RuntimeError("The media probe process failed. See its traceback on stderr.")
        return UnreadableMedia(REASONS.get(status or 0, CRASHED))


async def start_child() -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__, str(SECONDS)),
        stdin=PIPE,
        stdout=PIPE,
        env=environment_without_accounts() | {"PYTHONPATH": os.fspath(PACKAGES)},
        limit=LONGEST_ANSWER_BYTES,
        start_new_session=True,  # only the parent handles Ctrl-C
    )


def environment_without_accounts() -> dict[str, str]:
    secret = ("AZURE_", "LOCAL_AZURE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(secret)}


def read_answer(line: bytes) -> ProbeResult:
    answer = json.loads(line)
    if reason := answer.get("reason"):
        return UnreadableMedia(reason)
    lists = {name: tuple(value) for name, value in answer.items() if isinstance(value, list)}
    lists["sounds"] = tuple(Sound(**sound) for sound in answer["sounds"])
    film = answer["video"] and Stream(**answer["video"])
    pictures = PictureFormat(**answer["pictures"])
    return Media(**(answer | lists | {"video": film, "pictures": pictures}))


def probe_or_reason(location: str) -> Media | dict[str, str]:
    try:
        return probe(location)
    except UnreadableMedia as error:
        return {"reason": str(error)}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  one bad file must not end the run
        name = type(error).__name__
        return {"reason": f"the media probe failed ({name}): the file is damaged or unusual"}


def answer_requests(*, seconds: int) -> None:
    """Answer until standard input ends, or exit if a file exceeds the limits."""
    with suppress(ValueError, OSError):  # macOS does not support this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        signal.alarm(seconds)
        try:
            found = probe_or_reason(json.loads(line))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # without clean-up code, which would need memory
        signal.alarm(0)
        print(json.dumps(found, default=to_fields), flush=True)  # noqa: T201  the parent reads it


def to_fields(part: Media | Stream | PictureFormat) -> dict[str, Any]:
    # `asdict` copies each value, which takes a fifth of the time of a small file's probe.
    return {field.name: getattr(part, field.name) for field in fields(part)}


if __name__ == "__main__":
    answer_requests(seconds=int(sys.argv[1]))
