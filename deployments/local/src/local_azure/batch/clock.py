"""The service's clock: UTC, at the speed of real time or faster."""

import asyncio
from datetime import UTC, datetime, timedelta


class Clock:
    def __init__(self) -> None:
        self._rate = 1.0
        self._wall_origin = self._origin = datetime.now(UTC)
        self._rate_changed = asyncio.Event()

    def now(self) -> datetime:
        return self._origin + (datetime.now(UTC) - self._wall_origin) * self._rate

    def run_at(self, rate: float) -> None:
        """Let `rate` seconds pass on this clock in each second of real time."""
        self._origin, self._wall_origin = self.now(), datetime.now(UTC)
        self._rate = rate
        self._rate_changed.set()
        self._rate_changed = asyncio.Event()

    async def sleep_until(self, when: datetime) -> None:
        while (left := (when - self.now()).total_seconds()) > 0:
            try:
                async with asyncio.timeout(left / self._rate):
                    await self._rate_changed.wait()
            except TimeoutError:
                continue

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.now() + timedelta(seconds=seconds))
