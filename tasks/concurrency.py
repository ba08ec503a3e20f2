"""Concurrent work on many items, in coroutines or in threads."""

import asyncio
import os
import threading
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def map_concurrently(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, at_once: int
) -> list[Result]:
    """Return the results in the order of the items. The first error cancels the other calls."""
    waiting = enumerate(items)
    results: dict[int, Result] = {}

    async def work() -> None:
        for number, item in waiting:  # all workers share one iterator: waiting items cost nothing
            results[number] = await function(item)

    running = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*running)
    finally:
        await cancel_all(*running)
    return [results[number] for number in range(len(results))]


async def cancel_all(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the tasks and wait for them. Raise the signal that one of them received, if any."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        # A signal handler raises in whichever task is running, which may be one of these.
        if isinstance(result, BaseException) and not isinstance(
            result, (Exception, CancelledError)
        ):
            raise result


async def map_in_threads(
    function: Callable[[Item, threading.Event], Result], items: Iterable[Item]
) -> list[Result]:
    """Return the results in the order of the items. The function must return on the event."""
    stop = threading.Event()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1) as threads:
        try:
            return await asyncio.gather(
                *(
                    loop.run_in_executor(threads, copy_context().run, function, item, stop)
                    for item in items
                )
            )
        finally:
            stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
