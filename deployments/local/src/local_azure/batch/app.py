"""The ASGI application."""

import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local_azure.batch import refusals, wire
from local_azure.batch.error_codes import BatchError, not_supported
from local_azure.batch.gate import Gate
from local_azure.batch.live_page import LivePage
from local_azure.batch.routes import ROUTES
from local_azure.batch.service import Service
from local_azure.batch.transfers import Transfers
from local_azure.page_link import page_secret

if TYPE_CHECKING:
    from local_azure.batch.node_identity import NodeIdentity
    from local_azure.directory import Directory


class LocalBatch(Starlette):
    """An application that knows its refusals.

    Its faults can drop connections, for which ASGI has no message.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # uvicorn's `send` is a method of the object that holds the connection.
            transport = getattr(getattr(send, "__self__", None), "transport", None)
            scope.setdefault("extensions", {})["local.drop"] = getattr(transport, "abort", None)
            send = self.state.service.recent_refusals.watching(scope, send)
        await super().__call__(scope, receive, send)


def create_app(  # noqa: PLR0913  the properties of an account
    *,
    account: str,
    key: str,
    data: Path,
    max_nodes: int,
    node_path: str,
    directory: "Directory | None" = None,
    bundle: Path | None = None,
) -> Starlette:
    """Make the local Batch service for one account.

    Args:
        account: The account's name.
        key: The account's key, in base64.
        data: The folder for the folders of nodes, which are deleted with their nodes.
        max_nodes: The account's quota of nodes, for all pools together.
        node_path: PATH of processes on nodes.
        directory: The tenant whose tokens are accepted over TLS, beside signatures with the key.
        bundle: The certificate authorities that nodes trust. None: those of the machine.
    """
    service = Service(
        account=account,
        data=data.resolve(),
        max_nodes=max_nodes,
        node_path=node_path,
        transfers=Transfers(bundle=bundle, identity=node_identity(directory)),
        directory=directory,
    )
    secret = base64.b64decode(key)
    page = Middleware(LivePage, service=service, secret=page_secret(secret))
    gate = Middleware(Gate, service=service, key=secret, directory=directory)
    app = LocalBatch(
        routes=ROUTES,
        middleware=[page, gate],
        exception_handlers={
            BatchError: _refused,
            HTTPException: _unknown,
            Exception: _internal_error,
        },
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.start()
    try:
        yield
    finally:
        await service.stop()


def node_identity(directory: "Directory | None") -> "NodeIdentity | None":
    if directory is None:
        return None
    from local_azure.batch.node_identity import NodeIdentity  # slow to import

    return NodeIdentity(directory)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, BatchError)  # noqa: S101  registered for this class alone
    refusals.note(request.scope, error)
    return wire.failure(error)


async def _unknown(request: Request, _: Exception) -> Response:
    what = f"{request.method} {request.url.path}"
    return await _refused(request, not_supported(what[:200]))


async def _internal_error(_: Request, __: Exception) -> Response:
    return wire.failure(BatchError("InternalError"))
