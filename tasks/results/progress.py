"""How far a run is: counted by its stages, told to whoever listens."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from tasks.models import Span

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Progress:
    files: int
    converted: int
    failed: int
    running: int
    nodes: int
    seconds_left: float | None  # None: nothing to tell it from yet


@dataclass(slots=True)
class Tally:
    """What the waves have handed to Batch so far. The watcher reads it, and may stop them."""

    files: int = 0
    submitted: int = 0
    refused: int = 0
    is_closed: bool = False  # no further wave will come
    is_stopped: bool = False  # by the watcher: no further wave may go out


class Stopwatch:
    """When each stage of a run began and ended."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def time(self, name: str, stage: Awaitable[Result]) -> Result:
        started_at = datetime.now(UTC)
        try:
            return await stage
        finally:
            self.spans.append(Span(name, started_at, datetime.now(UTC)))


Listener = Callable[[object], None]  # called with a Progress, at the end with the Report
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def publish(news: object) -> None:
    for listener in _listeners:
        listener(news)


def seconds_left(*, files: int, finished: int, elapsed_seconds: float) -> float | None:
    """At the pace so far."""
    if not finished:
        return None
    return elapsed_seconds / finished * (files - finished)


def headline(progress: Progress) -> str:
    done = progress.converted + progress.failed
    return f"{done} of {counted(progress.files, 'file')} done, {detail(progress)}"


def detail(progress: Progress) -> str:
    parts = [
        f"{progress.failed} failed" if progress.failed else "",
        f"{progress.running} running",
        counted(progress.nodes, "node"),
        f"{clock(progress.seconds_left)} left" if progress.seconds_left is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
