"""One coroutine for each item, so many at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def each(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, at_once: int
) -> list[Result]:
    """The results in the items' order. The first error ends what is still under way."""
    limit = asyncio.Semaphore(at_once)

    async def bounded(item: Item) -> Result:
        async with limit:
            return await function(item)

    running = [asyncio.create_task(bounded(item)) for item in items]
    try:
        return await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
