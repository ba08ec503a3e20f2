"""Several services at one address, told apart by path."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from local_azure.certificate import NAMES


def beside(
    otherwise: ASGIApp, *, routes: Sequence[BaseRoute], refusals: Mapping[Any, Any]
) -> ASGIApp:
    """What one of the routes takes goes there, all else to `otherwise`.

    Args:
        otherwise: The service that has the address to itself so far.
        routes: Those of the service beside it.
        refusals: How its exceptions are answered.
    """
    service = Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False)],
        exception_handlers=refusals,
    )

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        is_taken = scope["type"] == "http" and any(
            route.matches(scope)[0] is Match.FULL for route in routes
        )
        await (service if is_taken else otherwise)(scope, receive, send)

    return either
