"""Requests to end the runs of this process, from a command that received a signal.

Prefect calls a cancelled coroutine a crash, and logs no reason. A run that is asked ends by itself.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

_requests: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}


@contextmanager
def accepted_request() -> Iterator[asyncio.Event]:
    """Yield an event that is set if this process is to end. The block must look at it."""
    event = asyncio.Event()
    _requests[event] = asyncio.get_running_loop()
    try:
        yield event
    finally:
        del _requests[event]


def request_end() -> bool:
    """Ask the runs to end, from any thread. Return whether there are any that look at it."""
    requests = list(_requests.items())
    for event, loop in requests:
        loop.call_soon_threadsafe(event.set)
    return bool(requests)
