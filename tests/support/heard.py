"""What Prefect's server tells to those who listen to its events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

PATIENCE_SECONDS = 60


@asynccontextmanager
async def listening_for(
    *, name: str, resource: str
) -> AsyncIterator[Callable[[], Awaitable[Event]]]:
    """Gives what waits for the next event of that name (or prefix, with a dot) and resource."""
    names = EventNameFilter(prefix=[name]) if name.endswith(".") else EventNameFilter(name=[name])
    wanted = EventFilter(event=names, resource=EventResourceFilter(id=[resource]))
    async with get_events_subscriber(filter=wanted) as subscriber:

        async def next_event() -> Event:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await anext(aiter(subscriber))

        yield next_event
