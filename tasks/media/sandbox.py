"""Runs the media probe in child processes: a malicious file can exhaust, block or crash it.

A child reads locations from standard input, one JSON string per line, and answers each with one
line. It exits if a file exceeds the limits, and a new child replaces it. URLs with SAS tokens pass
only through the pipe, and the environment of the children contains no account keys.
"""

import json
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from tasks.concurrency import map_concurrently
from tasks.media.child_process import BROKEN, MEMORY_BYTES, ChildProcess, limit_memory
from tasks.media.pictures import PictureFormat
from tasks.media.probe import probe
from tasks.media.streams import Media, Sound, Stream, UnreadableMedia

SECONDS = 60  # for one file
OUT_OF_MEMORY = 3  # exit status of a child
REASONS = {
    OUT_OF_MEMORY: f"the media probe needs more than {MEMORY_BYTES >> 30} GiB of memory:"
    " the file is damaged or malicious",
    -signal.SIGALRM: f"the media probe takes longer than {SECONDS} seconds",
}
FILES_PER_PROCESS = 64  # with fewer, the start of another child takes longer than it saves
CRASHED = "the media probe crashed: the file is damaged or malicious"

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


class ProbeProcess(ChildProcess):
    """A child process that probes files. It starts on first use, and again after it has exited."""

    def __init__(self) -> None:
        super().__init__(__name__, str(SECONDS))

    async def probe(self, location: str) -> ProbeResult:
        """Return the media in the file, or why it is unreadable.

        Raises:
            RuntimeError: The child does not work at all. Its traceback is on stderr.
        """
        answer = await self.ask(location)
        if isinstance(answer, bytes):
            return read_answer(answer)
        if answer == BROKEN:
            raise RuntimeError("The media probe process failed. See its traceback on stderr.")
        return UnreadableMedia(REASONS.get(answer, CRASHED))


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
    limit_memory()
    import av  # noqa: F401  before the first request

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
