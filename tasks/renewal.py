"""The renewal of leases while a block runs: through outages, until another run has taken one."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from azure.core.exceptions import AzureError

from tasks.azure.api_errors import is_transient
from tasks.azure.lease import LEASE_SECONDS, Lease
from tasks.errors import OutputInUseError
from tasks.outages import is_too_long

RENEWAL_SECONDS = 10
RETRY_SECONDS = 2  # after a failed renewal
RELEASE_SECONDS = 5  # longer than that is an outage, and the lease expires by itself
# The other parts of a run give up first: their errors say what could not be reached.
GRACE = timedelta(seconds=LEASE_SECONDS)
logger = logging.getLogger(__name__)


def may_have_expired(*, confirmed_at: datetime, now: datetime) -> bool:
    """Return whether leases may have expired. A renewal would not say what happened since then."""
    return now - confirmed_at >= timedelta(seconds=LEASE_SECONDS)


class Renewal:
    """The renewal of a run's leases.

    Args:
        leases: The leases, which have been taken.
        taken_at: When the first of them was requested.
        take_again: Takes them again after they may have expired. Returns whether it worked.
    """

    def __init__(
        self,
        leases: Sequence[Lease],
        *,
        taken_at: datetime,
        take_again: Callable[[], Awaitable[bool]],
    ) -> None:
        self.is_lost = False
        self._leases = leases
        self._confirmed_at = taken_at
        self._take_again = take_again

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Renew the leases during the block. Cancel the block if one is lost."""
        holder = _current_task()
        renewing = asyncio.create_task(self._renew_until_lost())
        renewing.add_done_callback(lambda ended: ended.cancelled() or holder.cancel())
        try:
            yield
        except asyncio.CancelledError:
            if not renewing.done() or renewing.cancelled():  # the run itself is being stopped
                raise
            holder.uncancel()
            renewing.result()  # raises a worker's SIGTERM if the task received it
            raise OutputInUseError(
                "The lock on the output was lost: its lease could not be renewed.",
                "Run again: converted files are kept.",
            ) from None
        finally:
            renewing.cancel()

    async def _renew_until_lost(self) -> None:
        pause_seconds: float = RENEWAL_SECONDS
        while not self.is_lost:
            await asyncio.sleep(pause_seconds)
            sent_at = datetime.now(UTC)
            try:
                self.is_lost = not await self._confirm(sent_at)
                self._confirmed_at, pause_seconds = sent_at, RENEWAL_SECONDS
            except AzureError as error:
                is_over = is_too_long(self._confirmed_at + GRACE, now=datetime.now(UTC))
                self.is_lost = is_over or not is_transient(error)
                pause_seconds = RETRY_SECONDS

    async def _confirm(self, now: datetime) -> bool:
        if may_have_expired(confirmed_at=self._confirmed_at, now=now):
            return await self._take_again()
        for lease in self._leases:
            await lease.renew()
        return True


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  a coroutine always runs in a task
    return task


async def released(release: Callable[[], Awaitable[None]]) -> None:
    """Release leases, or log that they will expire."""
    try:
        async with asyncio.timeout(RELEASE_SECONDS):
            await release()
    except (AzureError, TimeoutError):
        logger.warning("The lock could not be released. It expires in %s s.", LEASE_SECONDS)
