"""The counts of a job's tasks, which lag behind the tasks if that was ordered."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local_azure.batch.clock import Clock
from local_azure.batch.registry import Registry
from local_azure.batch.state import Job
from local_azure.batch.workers import Workers

SAMPLE_SECONDS = 0.05


@dataclass(kw_only=True, eq=False)
class TaskCounts:
    """Samples the counts while they lag; the lag is zero at first."""

    registry: Registry
    clock: Clock
    workers: Workers
    _lag: timedelta = timedelta()
    _samples: dict[int, deque[tuple[datetime, dict[str, Any]]]] = field(default_factory=dict)

    def lag(self, seconds: float) -> None:
        """Let the counts lag behind by `seconds`."""
        is_sampling = bool(self._lag)
        self._lag = timedelta(seconds=seconds)
        if not is_sampling:
            self.workers.spawn(self._sample(), name="lag of the task counts")

    def catch_up(self) -> None:
        self._lag = timedelta()
        self._samples.clear()

    async def _sample(self) -> None:
        while self._lag:
            now = self.clock.now()
            for job in self.registry.jobs.values():
                samples = self._samples.setdefault(job.serial, deque())
                samples.append((now, job.counted()))
                while len(samples) > 1 and samples[1][0] <= now - self._lag:
                    samples.popleft()
            await self.clock.sleep(SAMPLE_SECONDS)

    def of(self, job: Job) -> dict[str, Any]:
        if not self._lag:
            return job.counted()
        before = self.clock.now() - self._lag
        old = [counts for at, counts in self._samples.get(job.serial, ()) if at <= before]
        return old[-1] if old else Job.nothing_counted()
