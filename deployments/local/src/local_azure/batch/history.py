"""The samples of a pool that its autoscale formula reads: one every 30 seconds."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

PERIOD = timedelta(seconds=30)
DELAY = timedelta(minutes=1)
"""The age at which formulas see a sample, by Azure's documentation."""
LONGEST_HISTORY = timedelta(days=1)

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class History:
    """A pool's samples, oldest first."""

    samples: deque[tuple[datetime, Metrics]] = field(default_factory=deque)

    def add(self, now: datetime, metrics: Metrics) -> None:
        self.samples.append((now, metrics))
        while self.samples[0][0] < now - LONGEST_HISTORY:
            self.samples.popleft()

    def latest(self, name: str, count: int, *, now: datetime) -> tuple[float, ...]:
        """Return the last `count` samples that formulas see at `now`."""
        seen = [metrics[name] for at, metrics in self.samples if at <= now - DELAY]
        return tuple(seen[-count:]) if count > 0 else ()

    def between(
        self, name: str, *, start: datetime, end: datetime, now: datetime
    ) -> tuple[float, ...]:
        """Return the samples from `start` to `end` that formulas see at `now`."""
        end = min(end, now - DELAY)
        return tuple(metrics[name] for at, metrics in self.samples if start <= at <= end)
