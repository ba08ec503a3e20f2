"""The live page, its data, and the health of the service: what is answered without a signature.

The page itself is the same for everyone. Its script sends the secret of the link for the data.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from local_azure.batch import wire
from local_azure.batch.error_codes import BatchError
from local_azure.batch.gate import check_host
from local_azure.batch.overview import overview
from local_azure.batch.service import Service
from local_azure.batch.shared_key import denied

FOLDER = Path(__file__).parent
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Answer = Callable[[Headers], Response]


class LivePage:
    """ASGI middleware that answers requests for the page, and passes others on."""

    def __init__(self, app: ASGIApp, *, service: Service, secret: str) -> None:
        self.app = app
        self.service = service
        self.secret = secret
        self.answers: dict[tuple[str, str], Answer] = {
            (method, f"/_local/{name}"): answer
            for name, answer in (("", page), ("health", health), ("overview", self.data))
            for method in ("GET", "HEAD")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self.answers.get((scope.get("method", ""), scope.get("path", "")))
        respond = admitted(answer, Headers(scope=scope)) if answer else self.app
        await respond(scope, receive, send)

    def data(self, headers: Headers) -> Response:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.secret.encode()):
            raise denied("The link to the live page is not valid. local-azure prints it at start")
        return wire.answer(overview(self.service), HEADERS)


def admitted(answer: Answer, headers: Headers) -> Response:
    """Return the answer, or an error if the request is not allowed."""
    try:
        check_host(headers.get("host", ""))
        return answer(headers)
    except BatchError as error:
        return wire.failure(error)


def page(_: Headers) -> Response:
    text, policy = document()
    return HTMLResponse(text, headers=HEADERS | {"Content-Security-Policy": policy})


def health(_: Headers) -> Response:
    return wire.answer({"status": "healthy", "version": version("local-azure")}, HEADERS)


@cache
def document() -> tuple[str, str]:
    """Return the page, and a policy that allows its own style, script and data alone."""
    style, script = ((FOLDER / f"live_page.{suffix}").read_text() for suffix in ("css", "js"))
    text = (FOLDER / "live_page.html").read_text()
    rules = {
        "default-src": "'none'",
        "style-src": fingerprint(style),
        "script-src": fingerprint(script),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    policy = "; ".join(f"{name} {value}" for name, value in rules.items())
    return text.replace("{{style}}", style).replace("{{script}}", script), policy


def fingerprint(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
