"""Blocking work, off the event loop, that ends when the run does."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_threads(
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
