"""The local Batch service's life in this process."""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import uvicorn
from starlette.applications import Starlette

STOP_SECONDS = 2  # what open requests are given to end


class Service(uvicorn.Server):
    """A server that is announced for as long as it serves, and stops when `alive` says no."""

    def __init__(
        self,
        app: Starlette,
        *,
        announcement: AbstractContextManager[None],
        alive: Callable[[], bool],
    ) -> None:
        """Announce on entering `announcement`, and ask `alive` ten times a second."""
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                lifespan="on",
                timeout_graceful_shutdown=STOP_SECONDS,
                ws="none",
            )
        )
        self.announcement = announcement
        self.announced = ExitStack()
        self.alive = alive

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.announced.enter_context(self.announcement)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop."""
        return await super().on_tick(counter) or not self.alive()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take back what was said, then stop: nobody shall find a server that is about to go."""
        self.announced.close()
        await super().shutdown(sockets)
