"""The HTTP server of the stack's own services."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

if TYPE_CHECKING:
    from local_azure.certificate import Certificate

STOP_SECONDS = 2  # for open requests to end
GOODBYE_SECONDS = 0.05


class HttpServer(uvicorn.Server):
    """A server that enters `announcement` while it serves, and stops when `alive` is false.

    It calls `alive` ten times a second.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        certificate: "Certificate | None",
        announcement: AbstractContextManager[None],
        alive: Callable[[], bool],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ssl_certfile=certificate.chain if certificate else None,
                ssl_keyfile=certificate.key if certificate else None,
                access_log=False,
                date_header=False,  # the application sends its own, which a fault can skew
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
        """Listen, then announce the server."""
        await super().startup(sockets)
        self.announced.enter_context(self.announcement)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop."""
        return await super().on_tick(counter) or not self.alive()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Withdraw the announcement first, so that no client finds a server that stops."""
        self.announced.close()
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self._abort_closing)
        await super().shutdown(sockets)

    def _abort_closing(self) -> None:
        """Abort TLS connections that are closing: most clients never answer the goodbye."""
        for connection in self.server_state.connections:
            if connection.transport.is_closing():
                connection.transport.abort()
