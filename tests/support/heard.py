"""Receives events from Prefect's server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter

PATIENCE_SECONDS = 180  # a worker starts a process for a run, and the machine may be busy
NextEvent = Callable[[], Awaitable[Event]]


@asynccontextmanager
async def listening_for(prefix: str, *, about: str) -> AsyncIterator[NextEvent]:
    """Yield a function that waits for the next event with this name prefix and resource.

    The subscriber also receives events of the last minute. Those are ignored.
    """
    since = datetime.now(UTC)
    wanted = EventFilter(
        event=EventNameFilter(prefix=[prefix]), any_resource=EventAnyResourceFilter(id=[about])
    )
    async with get_events_subscriber(filter=wanted) as subscriber:

        async def next_event() -> Event:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await anext(event async for event in subscriber if event.occurred >= since)

        yield next_event
