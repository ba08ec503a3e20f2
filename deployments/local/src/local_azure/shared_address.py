"""Several services at one address: the path of a request decides which one answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from local_azure.certificate import NAMES


def with_routes(
    app: ASGIApp, *, routes: Sequence[BaseRoute], exception_handlers: Mapping[Any, Any]
) -> ASGIApp:
    """Return an application that answers `routes` itself, and passes other requests to `app`."""
    service = Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False)],
        exception_handlers=exception_handlers,
    )

    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        matches = scope["type"] == "http" and any(
            route.matches(scope)[0] is Match.FULL for route in routes
        )
        await (service if matches else app)(scope, receive, send)

    return choose
