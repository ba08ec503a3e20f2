"""The progress of a run, in numbers and in words."""

from dataclasses import dataclass, field

from tasks.results.forecast import Forecast
from tasks.results.text import counted, format_clock


@dataclass(frozen=True, slots=True)
class Progress:
    """How many files of a run are done, and how long the rest may take."""

    files: int
    converted: int
    failed: int
    running: int
    nodes: int
    seconds_left: float | None  # None: not known before some files are done

    @property
    def done(self) -> int:
        return self.converted + self.failed


@dataclass(slots=True)
class Tally:
    """What the waves have submitted to Batch. The watcher reads it and may stop the waves."""

    files: int = 0
    submitted: int = 0
    refused: int = 0
    is_closed: bool = False  # all waves are submitted
    is_stopped: bool = False  # the watcher forbids further waves
    forecast: Forecast = field(default_factory=Forecast)


def headline(progress: Progress) -> str:
    return f"{progress.done} of {counted(progress.files, 'file')} done, {detail(progress)}"


def detail(progress: Progress) -> str:
    left, is_converting = progress.seconds_left, progress.done < progress.files
    parts = [
        f"{progress.failed} failed" if progress.failed else "",
        f"{progress.running} running",
        counted(progress.nodes, "node"),
        f"{format_clock(left)} left" if left is not None and is_converting else "",
    ]
    return ", ".join(part for part in parts if part)
