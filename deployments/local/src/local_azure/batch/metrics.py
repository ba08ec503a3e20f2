"""What Batch measures of a pool for its autoscale formula: a sample each 30 seconds."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_azure.batch.state import Job, Pool

PERIOD = timedelta(seconds=30)
DELAY = timedelta(minutes=1)
"""How old a sample is before formulas see it, as Azure's documentation has it."""
LONGEST_HISTORY = timedelta(days=1)

Metrics = Mapping[str, float]


def measure(pool: "Pool", jobs: "Iterable[Job]") -> Metrics:
    """The variables of Azure's formulas that count this pool's tasks and nodes."""
    counts: Counter[str] = Counter()
    for job in jobs:
        if job.pool_key == pool.id.lower():
            counts.update(job.counts)
    spot = pool.members(dedicated=False)
    return {
        "$ActiveTasks": counts["active"],
        "$RunningTasks": counts["running"],
        "$PendingTasks": counts["active"] + counts["running"],
        "$SucceededTasks": counts["succeeded"],
        "$FailedTasks": counts["failed"],
        "$CurrentDedicatedNodes": len(pool.members(dedicated=True)),
        "$CurrentLowPriorityNodes": len(spot),
        "$PreemptedNodeCount": sum(node.state == "preempted" for node in spot),
    }


@dataclass(frozen=True)
class History:
    """A pool's samples, oldest first."""

    samples: deque[tuple[datetime, Metrics]] = field(default_factory=deque)

    def add(self, now: datetime, metrics: Metrics) -> None:
        self.samples.append((now, metrics))
        while self.samples[0][0] < now - LONGEST_HISTORY:
            self.samples.popleft()

    def latest(self, name: str, count: int, *, now: datetime) -> tuple[float, ...]:
        """The last so many samples that formulas can see by now."""
        seen = [metrics[name] for at, metrics in self.samples if at <= now - DELAY]
        return tuple(seen[-count:]) if count > 0 else ()

    def between(
        self, name: str, *, start: datetime, end: datetime, now: datetime
    ) -> tuple[float, ...]:
        end = min(end, now - DELAY)
        return tuple(metrics[name] for at, metrics in self.samples if start <= at <= end)
