"""The service's clock: UTC, at the speed of real time or faster."""

import asyncio
from datetime import UTC, datetime, timedelta


class Clock:
    def __init__(self) -> None:
        self._rate = 1.0
        self._wall_origin = self._origin = datetime.now(UTC)
        self._sleepers: set[asyncio.Future[None]] = set()

    def now(self) -> datetime:
        return self._origin + (datetime.now(UTC) - self._wall_origin) * self._rate

    def run_at(self, rate: float) -> None:
        """Let `rate` seconds pass on this clock in each second of real time."""
        self._origin, self._wall_origin = self.now(), datetime.now(UTC)
        self._rate = rate
        for sleeper in self._sleepers:
            _wake(sleeper)

    async def sleep_until(self, when: datetime) -> None:
        while (left := (when - self.now()).total_seconds()) > 0:
            await self._pause(left / self._rate)

    async def _pause(self, seconds: float) -> None:
        """Wait for real seconds, or until the rate changes.

        `asyncio.timeout` would cancel the worker when the time is over. At that moment it cannot be
        stopped, because workers that are being cancelled are not cancelled again.
        """
        loop = asyncio.get_running_loop()
        sleeper = loop.create_future()
        self._sleepers.add(sleeper)
        timer = loop.call_later(seconds, _wake, sleeper)
        try:
            await sleeper
        finally:
            timer.cancel()
            self._sleepers.discard(sleeper)

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.now() + timedelta(seconds=seconds))


def _wake(sleeper: "asyncio.Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)
