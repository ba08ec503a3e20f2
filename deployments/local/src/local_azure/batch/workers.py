"""The service's asyncio tasks. Errors are logged, and all tasks end with the service."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)

Worker = asyncio.Task[None]


class Workers:
    def __init__(self) -> None:
        self._running: set[Worker] = set()
        self.stopping = False

    def spawn(
        self,
        work: Coroutine[Any, Any, None],
        *,
        name: str,
        then: Callable[[BaseException | None], None] = lambda _: None,
    ) -> Worker:
        """Run `work`, then call `then` with its error, or with None."""
        worker = asyncio.create_task(work, name=name)
        self._running.add(worker)
        worker.add_done_callback(lambda worker: self._ended(worker, then))
        return worker

    def _ended(self, worker: Worker, then: Callable[[BaseException | None], None]) -> None:
        self._running.discard(worker)
        error = None if worker.cancelled() else worker.exception()
        if error:
            log.error("worker %s died", worker.get_name(), exc_info=error)
        if not self.stopping:
            then(error)

    async def stop(self) -> None:
        self.stopping = True
        running = [worker for worker in self._running if worker is not asyncio.current_task()]
        for worker in running:
            if not worker.cancelling():
                worker.cancel()
        await asyncio.gather(*running, return_exceptions=True)
