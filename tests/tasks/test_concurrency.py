import asyncio
import signal
import threading

import pytest
from prefect.exceptions import TerminationSignal

from tasks.concurrency import cancel_all, map_concurrently, map_in_threads


async def test_coroutines_return_results_in_order_and_keep_the_limit() -> None:
    running = most = 0

    async def double(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(10 - item):
            await asyncio.sleep(0)
        running -= 1
        return item * 2

    assert await map_concurrently(double, range(10), at_once=3) == [n * 2 for n in range(10)]
    assert most == 3


async def test_the_first_error_cancels_the_other_coroutines() -> None:
    ended: list[int] = []

    async def work(item: int) -> None:
        if item == 2:
            raise ValueError("two")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    with pytest.raises(ValueError, match="two"):
        await map_concurrently(work, [0, 1, 2], at_once=3)
    assert ended == [0, 1]


async def test_items_are_taken_from_the_iterable_only_when_needed() -> None:
    drawn: list[int] = []

    async def wait(item: int) -> None:
        assert drawn[-1] <= item + 1
        await asyncio.sleep(0)

    await map_concurrently(wait, (drawn.append(n) or n for n in range(5)), at_once=2)
    assert drawn == [0, 1, 2, 3, 4]


async def test_a_signal_that_a_cancelled_task_receives_is_raised() -> None:
    async def receive_signal() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise TerminationSignal(signal.SIGTERM)

    receiver = asyncio.create_task(receive_signal())
    await asyncio.sleep(0)
    with pytest.raises(TerminationSignal):
        await cancel_all(receiver)


async def test_threads_return_results_in_order() -> None:
    second = threading.Event()

    def wait_for_the_second(item: int, _: threading.Event) -> int:
        second.wait(10) if item == 1 else second.set()
        return item * 2

    assert await map_in_threads(wait_for_the_second, [1, 2, 3]) == [2, 4, 6]


async def test_threads_return_no_results_for_no_items() -> None:
    assert await map_in_threads(lambda item, _: item, []) == []


async def test_an_error_in_one_thread_stops_the_others() -> None:
    ended = threading.Event()

    def fail(item: int, stop: threading.Event) -> None:
        if item == 1:
            raise ValueError("one")
        if stop.wait(10):
            ended.set()

    with pytest.raises(ValueError, match="one"):
        await map_in_threads(fail, [2, 1])
    assert ended.wait(10)


async def test_a_cancelled_caller_does_not_wait_for_its_threads() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(_: int, stop: threading.Event) -> None:
        begun.set()
        if stop.wait(10):
            ended.set()

    running = asyncio.create_task(map_in_threads(work, [1]))
    await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.wait(10)
