"""Runs without Batch and without waiting: what the watcher would count, and what it would show."""

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from tasks.completion import pause_before_poll
from tasks.results.forecast import Forecast


@dataclass(frozen=True, kw_only=True)
class SimulatedRun:
    """A run whose conversions take as long as `seconds` says.

    Attributes:
        works: Expected work of each conversion, in the order of sending.
        seconds: How long each of them takes.
        sent: When each of them is sent.
        uploads: Bytes to upload for each of them.
        slots: Conversions at the same time.
        boot_seconds: Until the nodes are ready.
        delay_seconds: Until Batch starts the next conversion in a slot.
    """

    works: Sequence[float]
    seconds: Sequence[float]
    sent: Sequence[float]
    uploads: Sequence[int]
    slots: int
    boot_seconds: float = 0.0
    delay_seconds: float = 0.0
    first_poll: float = 0.1
    starts: list[float] = field(init=False, default_factory=list)
    ends: list[float] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        free = [self.boot_seconds] * self.slots
        for seconds, sent in zip(self.seconds, self.sent, strict=True):
            start = max(free[0], sent) + self.delay_seconds
            heapq.heapreplace(free, start + seconds)
            self.starts.append(start)
            self.ends.append(start + seconds)
        self.starts.sort()
        self.ends.sort()

    @property
    def end(self) -> float:
        return self.ends[-1]

    def polls(self) -> Iterator[tuple[float, Forecast]]:
        """Yield the time of each poll, and the forecast after it, until all have ended."""
        forecast, now, files = Forecast(), self.first_poll, 0
        forecast.expect(self.works, uploads=self.uploads, now=0.0)
        waves = [(at, len(list(wave))) for at, wave in groupby(self.sent)]
        while True:
            while waves and waves[0][0] <= now:
                at, count = waves.pop(0)
                forecast.note_wave(self.works[files : files + count], files=count, now=at)
                files += count
            started, ended = bisect_right(self.starts, now), bisect_right(self.ends, now)
            forecast.observe(now, started=started, ended=ended)
            yield now, forecast
            if ended == len(self.works):
                return
            now += pause_before_poll(forecast, elapsed_seconds=now, now=now)


@dataclass(frozen=True)
class Shown:
    """A time left that a poll has shown, and the true one."""

    at: float
    left: float
    true_left: float


def shown(run: SimulatedRun) -> list[Shown]:
    found = ((now, forecast.seconds_left()) for now, forecast in run.polls())
    return [Shown(now, left, max(0.0, run.end - now)) for now, left in found if left is not None]
