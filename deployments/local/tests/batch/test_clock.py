"""The service's clock, and workers that sleep on it."""

import asyncio
from datetime import timedelta

from local_azure.batch.clock import Clock
from local_azure.batch.workers import Workers


async def test_a_sleep_ends_early_if_the_clock_runs_faster() -> None:
    clock = Clock()
    began = clock.now()
    sleep = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    clock.run_at(360_000)
    await sleep
    assert clock.now() - began >= timedelta(hours=1)


async def test_a_worker_can_be_stopped_at_the_moment_when_its_sleep_ends() -> None:
    clock, workers, loop = Clock(), Workers(), asyncio.get_running_loop()
    stopped = loop.create_future()

    async def sample() -> None:
        while True:
            await clock.sleep(0.01)

    workers.spawn(sample(), name="samples")
    await asyncio.sleep(0)

    async def stop() -> None:
        await workers.stop()
        stopped.set_result(True)

    tasks: list[asyncio.Task[None]] = []  # asyncio keeps no reference
    loop.call_later(0.005, lambda: tasks.append(loop.create_task(stop())))
    busy_until = loop.time() + 0.02  # so that the loop looks at both timers at once
    while loop.time() < busy_until:
        pass
    async with asyncio.timeout(5):
        assert await stopped
