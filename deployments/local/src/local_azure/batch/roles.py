"""The roles of identities, which can take effect later."""

from datetime import datetime, timedelta
from pathlib import Path

from local_azure.azurite import MISSING_ROLES
from local_azure.batch.clock import Clock
from local_azure.batch.workers import Workers


class Roles:
    """Whether roles have taken effect. While they have not, a file says so to Azurite."""

    def __init__(self, data: Path, *, clock: Clock, workers: Workers) -> None:
        self._file = data / MISSING_ROLES
        self._clock, self._workers = clock, workers
        self._begin_at: datetime | None = None

    @property
    def are_effective(self) -> bool:
        return self._begin_at is None

    def delay(self, seconds: float) -> None:
        """Let the roles take effect after this time."""
        self._begin_at = begin_at = self._clock.now() + timedelta(seconds=seconds)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()
        self._workers.spawn(self._begin_later(begin_at), name="roles")

    async def _begin_later(self, begin_at: datetime) -> None:
        await self._clock.sleep_until(begin_at)
        if self._begin_at == begin_at:
            self.begin()

    def begin(self) -> None:
        self._begin_at = None
        self._file.unlink(missing_ok=True)
