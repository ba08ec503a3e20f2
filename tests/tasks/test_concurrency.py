import asyncio
import signal

import pytest
from prefect.exceptions import TerminationSignal

from tasks.concurrency import both, each, end_all


async def test_results_come_in_the_items_order_and_no_more_run_than_are_allowed() -> None:
    running = most = 0

    async def double(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(10 - item):
            await asyncio.sleep(0)
        running -= 1
        return item * 2

    assert await each(double, range(10), at_once=3) == [n * 2 for n in range(10)]
    assert most == 3


async def test_the_first_error_ends_what_is_under_way_before_it_is_raised() -> None:
    ended: list[int] = []

    async def work(item: int) -> None:
        if item == 2:
            raise ValueError("two")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    with pytest.raises(ValueError, match="two"):
        await each(work, [0, 1, 2], at_once=3)
    assert ended == [0, 1]


async def test_an_item_is_drawn_only_when_its_turn_has_come() -> None:
    drawn: list[int] = []

    async def wait(item: int) -> None:
        assert drawn[-1] <= item + 1
        await asyncio.sleep(0)

    await each(wait, (drawn.append(n) or n for n in range(5)), at_once=2)
    assert drawn == [0, 1, 2, 3, 4]


async def test_both_of_two_are_had_in_their_order() -> None:
    async def echo(value: str) -> str:
        return value

    assert await both(echo("one"), asyncio.sleep(0, 2)) == ("one", 2)


async def test_the_first_error_of_two_ends_the_other_before_it_is_raised() -> None:
    ended = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("one")

    with pytest.raises(ValueError, match="one"):
        await both(fail(), wait())
    assert ended == ["other"]


async def test_a_signal_that_strikes_what_is_being_ended_is_not_lost() -> None:
    async def be_struck() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise TerminationSignal(signal.SIGTERM)

    struck = asyncio.create_task(be_struck())
    await asyncio.sleep(0)
    with pytest.raises(TerminationSignal):
        await end_all(struck)


async def test_a_signal_counts_for_more_than_the_error_that_was_first() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("one")

    async def be_struck() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise TerminationSignal(signal.SIGTERM)

    with pytest.raises(TerminationSignal):
        await both(fail(), be_struck())
