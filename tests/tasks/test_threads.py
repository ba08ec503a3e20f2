import asyncio
import threading

import pytest

from tasks.threads import in_threads


async def test_results_come_in_the_items_order() -> None:
    second = threading.Event()

    def wait_for_the_second(item: int, _: threading.Event) -> int:
        second.wait(10) if item == 1 else second.set()
        return item * 2

    assert await in_threads(wait_for_the_second, [1, 2, 3]) == [2, 4, 6]


async def test_no_items_give_no_results() -> None:
    assert await in_threads(lambda item, _: item, []) == []


async def test_an_error_ends_the_rest() -> None:
    ended = threading.Event()

    def fail(item: int, stop: threading.Event) -> None:
        if item == 1:
            raise ValueError("one")
        if stop.wait(10):
            ended.set()

    with pytest.raises(ValueError, match="one"):
        await in_threads(fail, [2, 1])
    assert ended.wait(10)


async def test_a_run_that_is_cancelled_does_not_wait_for_its_threads() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(_: int, stop: threading.Event) -> None:
        begun.set()
        if stop.wait(10):
            ended.set()

    running = asyncio.create_task(in_threads(work, [1]))
    await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.wait(10)
