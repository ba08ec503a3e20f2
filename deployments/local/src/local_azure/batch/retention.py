"""Deletes the files of completed tasks after their retention time."""

import asyncio
import heapq
import shutil
from datetime import datetime

from local_azure.batch.clock import Clock
from local_azure.batch.scheduler import earliest
from local_azure.batch.state import Job, Task, TaskState


class Retention:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[datetime, int, Task]] = []
        self._changed = asyncio.Event()

    def keep(self, task: Task) -> None:
        """Note when the files of a completed task are to be deleted."""
        due = earliest(self._clock.now(), task.constraints.retention_time)
        if due is not None and task.folder is not None:
            heapq.heappush(self._due, (due, task.serial, task))
            if self._due[0][2] is task:
                self._changed.set()

    def forget(self, job: Job) -> None:
        """Drop the tasks of a deleted job, so that they do not stay in memory for a week."""
        self._due = [entry for entry in self._due if entry[2].job is not job]
        heapq.heapify(self._due)

    async def run(self) -> None:
        while True:
            self._changed.clear()
            if not self._due:
                await self._changed.wait()
                continue
            due = self._due[0][0]
            if due > self._clock.now():
                await self._sleep_until(due)
            else:
                await self._remove(heapq.heappop(self._due)[2])

    async def _sleep_until(self, due: datetime) -> None:
        timer = asyncio.ensure_future(self._clock.sleep_until(due))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({timer, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            changed.cancel()

    async def _remove(self, task: Task) -> None:
        if task.state is TaskState.COMPLETED and task.worker is None and task.folder is not None:
            await asyncio.to_thread(shutil.rmtree, task.folder, ignore_errors=True)
