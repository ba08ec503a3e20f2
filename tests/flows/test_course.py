import asyncio

import pytest

from flows.course import to_its_end


async def test_what_ends_a_run_goes_on_to_its_end_where_it_is_cancelled_meanwhile() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def end() -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    ending = asyncio.create_task(to_its_end(end()))
    await begun.wait()
    ending.cancel()
    asyncio.get_running_loop().call_soon(may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert ended.is_set()
