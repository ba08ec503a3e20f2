"""How far a run is: counted by its stages, told to whoever listens."""

from dataclasses import dataclass

from tasks.results.text import clock, counted


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
