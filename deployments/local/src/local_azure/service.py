"""The local Batch service's life in this process."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

if TYPE_CHECKING:
    from local_azure.certificate import Certificate

STOP_SECONDS = 2  # what open requests are given to end
GOODBYE_SECONDS = 0.05


class Service(uvicorn.Server):
    """A server that is announced for as long as it serves, and stops when `alive` says no."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        certificate: "Certificate | None",
        announcement: AbstractContextManager[None],
        alive: Callable[[], bool],
    ) -> None:
        """Announce on entering `announcement`, and ask `alive` ten times a second."""
        super().__init__(
            uvicorn.Config(
                app,
                ssl_certfile=certificate.chain if certificate else None,
                ssl_keyfile=certificate.key if certificate else None,
                access_log=False,
                date_header=False,  # the application's own may be skewed on purpose
                server_header=False,
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
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self._hang_up)
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        """Over TLS, a connection that is closed waits for its client to say goodbye: few do."""
        for connection in self.server_state.connections:
            if connection.transport.is_closing():
                connection.transport.abort()
