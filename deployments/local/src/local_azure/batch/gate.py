"""The checks of every request before its operation: host, size, signature, version, faults."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local_azure.batch import refusals, shared_key, wire
from local_azure.batch.error_codes import BatchError
from local_azure.batch.fault_kinds import Refusal
from local_azure.batch.service import Service

if TYPE_CHECKING:
    from local_azure.directory import Directory

LARGEST_BODY_BYTES = 1 << 20
DRAINED_BYTES = 16 << 20
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
QUERY_PARAMETERS = frozenset(
    {
        "api-version",
        "timeout",
        "maxresults",
        "$filter",
        "$select",
        "$expand",
        "$skiptoken",
        "recursive",
        "force",
        "starttime",
        "endtime",
    }
)
API_VERSIONS = frozenset(
    {
        "2018-12-01.8.0",
        "2019-06-01.9.0",
        "2019-08-01.10.0",
        "2020-03-01.11.0",
        "2020-09-01.12.0",
        "2021-06-01.14.0",
        "2022-01-01.15.0",
        "2022-10-01.16.0",
        "2023-05-01.17.0",
        "2023-11-01.18.0",
        "2024-02-01.19.0",
        "2024-07-01.20.0",
        "2025-06-01",
    }
)
REFUSALS = {
    403: "AuthorizationFailure",
    408: "OperationTimedOut",
    409: "OperationInvalidForCurrentState",
    429: "TooManyRequests",
    500: "InternalError",
    502: "InternalError",
    503: "ServerBusy",
    504: "OperationTimedOut",
}


class Gate:
    def __init__(
        self, app: ASGIApp, *, service: Service, key: bytes, directory: "Directory | None"
    ) -> None:
        self.app = app
        self.service = service
        self.key = key
        self.directory = directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = _with_common_headers(scope, send, now=self._now(scope))
        try:
            body = await self._admit(scope, receive)
        except BatchError as error:
            refusals.note(scope, error)
            await wire.failure(error)(scope, receive, send)
            return
        await self._serve(scope, _replay(body, receive), send)

    def _now(self, scope: Scope) -> datetime:
        """Return the time for checks of requests. Orders of faults are checked by the true time."""
        is_order = scope["path"].startswith("/_local/")
        return datetime.now(UTC) + (timedelta() if is_order else self.service.faults.skew)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the operation answer, unless a fault was ordered for it."""
        faults = self.service.faults
        operation = f"{scope['method']} {scope['path']}"
        if scope["path"].startswith("/_local/"):
            await self.app(scope, receive, send)
        elif refusal := faults.refusal(operation):
            await _ordered(refusal)(scope, receive, send)
        elif drop := faults.drop(operation):
            if drop.when == "after":
                await self.app(scope, receive, _swallow)
            await _drop(scope, receive)
        else:
            await self.app(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive) -> bytes:
        """Check the request, and return its body."""
        headers = _headers(scope)
        check_host(headers.get("host", ""))
        url = f"{scope['scheme']}://{headers['host']}"
        self._authenticate(scope, headers, url)
        check_query(scope["query_string"].decode("latin-1"))
        body = await _read(receive)
        self.service.executor.url = self.service.executor.url or url
        return body

    def _authenticate(self, scope: Scope, headers: dict[str, str], url: str) -> None:
        """Check the signature or the token. Tokens are accepted over TLS only."""
        now = self._now(scope)
        is_signed = headers.get("authorization", "").startswith("SharedKey ")
        if self.directory and scope["scheme"] == "https" and not is_signed:
            from local_azure.batch import bearer_token  # slow: 0.1 s

            bearer_token.verify(
                headers,
                directory=self.directory,
                has_roles=self.service.roles.are_effective,
                url=url,
                now=now,
            )
            return
        shared_key.verify(
            method=scope["method"],
            raw_path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            account=self.service.account,
            key=self.key,
            now=now,
        )


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers by lower-case name; refuse duplicates."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1")
        if key in headers and (
            key in shared_key.SIGNED_HEADERS or key in ("host", "authorization")
        ):
            raise BatchError("InvalidHeaderValue", HeaderName=key, Reason="It is given twice")
        headers[key] = value.decode("latin-1")
    return headers


def check_host(host: str) -> None:
    """Refuse names that a web page could have resolved to this machine."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() not in LOOPBACK:
        raise BatchError("InvalidHeaderValue", HeaderName="Host", HeaderValue=host[:200])


def check_query(text: str) -> None:
    seen = set()
    for name, value in _pairs(text):
        key = name.lower()
        if key not in QUERY_PARAMETERS:
            raise BatchError("UnsupportedQueryParameter", QueryParameterName=name[:200])
        if key in seen:
            raise wire.query_error(name, value, "It is given twice")
        # Specification: "The statistics may not be immediately available." Here they never are.
        if key == "$expand" and value.strip() != "stats":
            raise wire.query_error(name, value, "Only 'stats' can be expanded")
        seen.add(key)
    check_version(dict(_pairs(text)).get("api-version", ""))


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError:
        raise BatchError("InvalidUri", Reason="The query string is not valid") from None


def check_version(version: str) -> None:
    if version not in API_VERSIONS:
        raise BatchError("UnsupportedRequestVersion", Version=version[:40] or "none")


async def _read(receive: Receive) -> bytes:
    """Return the body. Read on for a while if it is too large: clients read the answer after it."""
    parts: list[bytes] = []
    size, more = 0, True
    while more and size < DRAINED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BatchError("InvalidRequestBody", Reason="The body ended early")
        size += len(message.get("body", b""))
        if size <= LARGEST_BODY_BYTES:
            parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    if size > LARGEST_BODY_BYTES:
        raise BatchError("RequestBodyTooLarge")
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _ordered(refusal: Refusal) -> Response:
    response = wire.failure(BatchError(REFUSALS[refusal.status]))
    response.status_code = refusal.status
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


async def _drop(scope: Scope, receive: Receive) -> None:
    scope["extensions"]["local.drop"]()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _swallow(_: Message) -> None:
    """Discard an answer."""


def _with_common_headers(scope: Scope, send: Send, *, now: datetime) -> Send:
    wanted = Headers(scope=scope)
    common = wire.common_headers() | {"Date": wire.format_http_time(now)}
    with contextlib.suppress(KeyError):
        if wanted["return-client-request-id"].lower() == "true":
            common["client-request-id"] = wanted["client-request-id"]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(common)
        await send(message)

    return sending
