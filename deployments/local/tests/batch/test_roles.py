import asyncio
from pathlib import Path

from local_azure.azurite import MISSING_ROLES
from local_azure.batch.clock import Clock
from local_azure.batch.roles import Roles
from local_azure.batch.workers import Workers


async def test_roles_take_effect_after_their_delay_on_the_services_clock(tmp_path: Path) -> None:
    clock, workers = Clock(), Workers()
    roles = Roles(tmp_path, clock=clock, workers=workers)
    assert roles.are_effective
    roles.delay(3600)
    assert not roles.are_effective
    assert (tmp_path / MISSING_ROLES).exists()
    clock.run_at(100_000)
    async with asyncio.timeout(60):
        while not roles.are_effective:  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0.01)
    assert not (tmp_path / MISSING_ROLES).exists()
    await workers.stop()


async def test_a_later_order_replaces_an_earlier_delay(tmp_path: Path) -> None:
    clock, workers = Clock(), Workers()
    roles = Roles(tmp_path, clock=clock, workers=workers)
    roles.delay(0)
    roles.delay(3600)
    await asyncio.sleep(0)
    assert not roles.are_effective
    roles.begin()
    assert roles.are_effective
    await workers.stop()
