"""Coroutines beside each other: one for each item, so many at a time; or two."""

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
    """The results in the items' order. The first error ends what is still under way."""
    waiting = enumerate(items)
    results: dict[int, Result] = {}

    async def work() -> None:
        for number, item in waiting:  # all draw from one source: an item that waits costs nothing
            results[number] = await function(item)

    running = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*running)
    finally:
        await cancel_all(*running)
    return [results[number] for number in range(len(results))]


async def cancel_all(*tasks: asyncio.Future[Any]) -> None:
    """Cancel them, and wait. A signal that struck one of them, as it does anywhere, is raised."""
    for task in tasks:
        task.cancel()
    for end in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(end, BaseException) and not isinstance(end, (Exception, CancelledError)):
            raise end


async def map_in_threads(
    function: Callable[[Item, threading.Event], Result], items: Iterable[Item]
) -> list[Result]:
    """The results in the items' order. The function gives up once the event is set."""
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
