"""SIGTERM in a run that a worker started: Prefect raises an error wherever Python is then."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.exceptions import TerminationSignal


@contextmanager
def heeded_termination() -> Iterator[None]:
    """Let the error end the block also where asyncio would log it and go on: in a callback."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    dropped: list[TerminationSignal] = []

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if task and isinstance(error, TerminationSignal):
            dropped.append(error)
            task.cancel()
        else:
            loop.default_exception_handler(context)

    before = loop.get_exception_handler()
    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
        if task and dropped:  # whatever else has come of the run meanwhile
            task.uncancel()
            raise dropped[0] from None
