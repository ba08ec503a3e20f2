"""Outages: how long both accounts may be unreachable, and how a run waits for them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from azure.core.exceptions import AzureError

from tasks.azure.api_errors import is_transient
from tasks.azure.error_wording import explain

OUTAGE_SECONDS = 330  # five minutes, and half a minute until each part of a run has noticed
PAUSES_SECONDS = (2.0, 4.0, 8.0, 15.0)  # before each further attempt; the last one repeats
# All tries of the SDKs at one request fail within this time. A longer attempt made progress.
LONGEST_FAILURE = timedelta(seconds=120)
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Outage:
    """An outage as repeated attempts see it: it begins with the first of several failures."""

    began_at: datetime | None = None

    def is_tolerable(self, *, attempted_at: datetime, now: datetime) -> bool:
        """Note a failed attempt. Return whether another one may follow."""
        if self.began_at is None or now - attempted_at > LONGEST_FAILURE:
            self.began_at = now
        return not is_too_long(self.began_at, now=now)


def is_too_long(began_at: datetime, *, now: datetime) -> bool:
    """Return whether an outage has lasted longer than a run waits."""
    return now - began_at >= timedelta(seconds=OUTAGE_SECONDS)


def pause_seconds(failures: int) -> float:
    """Return the pause after this many failures in a row."""
    return PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS)) - 1]


async def patiently(attempt: Callable[[], Awaitable[Result]]) -> Result:
    """Make attempts until one succeeds, its error is not transient, or the outage is too long."""
    outage, failures = Outage(), 0
    while True:
        attempted_at = datetime.now(UTC)
        try:
            return await attempt()
        except AzureError as error:
            now = datetime.now(UTC)
            if not is_transient(error) or not outage.is_tolerable(
                attempted_at=attempted_at, now=now
            ):
                raise
            logger.warning("%s Retrying.", explain(error).problem)
        failures += 1
        await asyncio.sleep(pause_seconds(failures))
