"""Ends the processes that tasks leave behind in sessions and groups of their own."""

import asyncio
from pathlib import Path

from local_azure.batch.reaper import end_processes


class Descendants:
    """One look at all processes, which takes milliseconds, serves all tasks that end meanwhile."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting: set[str] = set()

    async def end(self, task_folder: Path) -> None:
        """Kill the task's processes, and return when none is left."""
        folder = str(task_folder)
        self._waiting.add(folder)
        async with self._lock:
            if folder in self._waiting:  # else the look of another task was for this one, too
                folders, self._waiting = self._waiting, set()
                await asyncio.to_thread(end_processes, folders)
