"""Coroutines beside each other: one for each item, so many at a time; or two."""

import asyncio
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Other = TypeVar("Other")


async def each(
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
        await end_all(*running)
    return [results[number] for number in range(len(results))]


async def both(one: Awaitable[Result], other: Awaitable[Other]) -> tuple[Result, Other]:
    """The results of two that run side by side. The first error ends the other one."""
    running = asyncio.ensure_future(one), asyncio.ensure_future(other)
    try:
        await asyncio.gather(*running)
        return running[0].result(), running[1].result()
    finally:
        await end_all(*running)


async def end_all(*tasks: asyncio.Future[Any]) -> None:
    """Cancel them, and wait. A signal that struck one of them, as it does anywhere, is raised."""
    for task in tasks:
        task.cancel()
    for end in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(end, BaseException) and not isinstance(end, (Exception, CancelledError)):
            raise end
