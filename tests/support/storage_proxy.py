"""A proxy in front of Azurite that refuses, delays, drops and slows requests as clouds do.

The proxy forwards path and headers unchanged, because signatures cover them. Signatures do not
cover the address, so the proxy can have its own. Bodies are streamed.
"""

import asyncio
import fnmatch
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
from starlette.types import Receive, Scope, Send
from yarl import URL

from servers import served

CHUNK_BYTES = 1 << 16
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding"}
BODY = (
    '<?xml version="1.0" encoding="utf-8"?>'
    "<Error><Code>{code}</Code><Message>A test ordered this fault</Message></Error>"
)
CODES = {
    403: "AuthorizationFailure",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServerBusy",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to matching requests: always, a limited number of times, or by chance."""

    method: str = "*"
    blob: str = "*"
    """Pattern for `container/name`, percent-decoded."""
    comp: str = "*"
    """Pattern for the query parameter that names the operation: `lease`, `block`, `list`, …"""
    sender: Literal["*", "run", "node"] = "*"
    """Who sends the request: a run, which signs it, or a node, which has a SAS token."""
    times: int | None = None
    chance: float = 1.0

    def fits(self, *, method: str, blob: str, comp: str, sender: str = "run") -> bool:
        given = (
            (method, self.method),
            (blob, self.blob),
            (comp, self.comp),
            (sender, self.sender),
        )
        return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in given)


@dataclass(frozen=True, kw_only=True)
class Refusal(Fault):
    """An error response, with or without `Retry-After`."""

    status: Literal[403, 429, 500, 503]
    retry_after_seconds: int | None = None
    code: str = ""
    """Azure's error code. Empty: the usual code for the status."""


@dataclass(frozen=True, kw_only=True)
class Drop(Fault):
    """A broken connection: before storage gets the request, after its response, or within it."""

    when: Literal["before", "after", "within"]


@dataclass(frozen=True, kw_only=True)
class Delay(Fault):
    """A pause before storage gets the request."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Hold(Fault):
    """A pause before storage gets the request, until the fault is withdrawn."""


@dataclass(frozen=True, kw_only=True)
class Bandwidth(Fault):
    """A bandwidth limit that all matching requests share, for bodies in both directions."""

    bytes_per_second: float


Kind = TypeVar("Kind", bound=Fault)


class RecordedRequest(NamedTuple):
    """A request that the proxy has received, and when."""

    method: str
    blob: str
    comp: str
    at_seconds: float


@dataclass
class ActiveFault:
    """An ordered fault, and what is left of it."""

    fault: Fault
    times_left: int | None
    free_at_seconds: float = 0
    """When the next chunk may pass a `Bandwidth`."""

    def reserve(self, size: int, now: float) -> float:
        """Return the seconds until `size` more bytes have passed the bandwidth limit."""
        assert isinstance(self.fault, Bandwidth)
        start = max(now, self.free_at_seconds)
        self.free_at_seconds = start + size / self.fault.bytes_per_second
        return self.free_at_seconds - now


@dataclass
class RequestFaults:
    """The faults that apply to one request."""

    active: list[ActiveFault] = field(default_factory=list)

    def first(self, kind: type[Kind]) -> Kind | None:
        found = (each.fault for each in self.active if isinstance(each.fault, kind))
        return next(found, None)

    async def slow(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the chunks at the speed that the bandwidth limits allow."""
        limits = [each for each in self.active if isinstance(each.fault, Bandwidth)]
        async for chunk in chunks:
            waits = [limit.reserve(len(chunk), time.monotonic()) for limit in limits]
            if waits:
                await asyncio.sleep(max(waits))
            yield chunk


class StorageProxy:
    """An ASGI application that forwards requests to the storage of a connection string."""

    def __init__(self, connection_string: str) -> None:
        """Start without faults. The seed of chance is 0."""
        self.target = connection_string
        self.port = 0
        self.requests: list[RecordedRequest] = []
        self._endpoint = _parts(connection_string)["BlobEndpoint"]
        self._active: list[ActiveFault] = []
        self._random = random.Random(0)  # noqa: S311  reproducible on purpose
        self._lock = threading.Lock()

    @property
    def connection_string(self) -> str:
        """The same account, reached through the proxy."""
        address = f"127.0.0.1:{self.port}"
        return self.target.replace(urlsplit(self._endpoint).netloc, address)

    def order(self, fault: Fault) -> None:
        """Apply the fault to matching requests from now on, beside earlier faults."""
        with self._lock:
            self._active.append(ActiveFault(fault, fault.times))

    def withdraw(self, fault: Fault) -> None:
        """Stop applying a fault that was ordered."""
        with self._lock:
            self._active = [each for each in self._active if each.fault is not fault]

    async def first_request(
        self, running: asyncio.Task[Any], is_wanted: Callable[[RecordedRequest], bool]
    ) -> RecordedRequest:
        """Wait until the task has sent such a request, and return the request."""
        while not (found := next(filter(is_wanted, tuple(self.requests)), None)):
            assert not running.done(), "the task ended without such a request"
            await asyncio.wait([running], timeout=0.02)
        return found

    def seed(self, seed: int) -> None:
        """Make the faults that occur by chance reproducible from here on."""
        self._random.seed(seed)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._active.clear()

    def faults_for(
        self, *, method: str, blob: str, comp: str, sender: str = "run"
    ) -> RequestFaults:
        """Record the request and return its faults. Each one counts against its `times`."""
        with self._lock:
            self.requests.append(RecordedRequest(method, blob, comp, time.monotonic()))
            request = {"method": method, "blob": blob, "comp": comp, "sender": sender}
            chosen = [each for each in self._active if self._applies(each, **request)]
            self._active = [each for each in self._active if each.times_left != 0]
            return RequestFaults(chosen)

    def _applies(self, active: ActiveFault, **request: str) -> bool:
        fault = active.fault
        if not fault.fits(**request):
            return False
        if self._random.random() >= fault.chance:
            return False
        if active.times_left is not None:
            active.times_left -= 1
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode())
        faults = self.faults_for(
            method=scope["method"],
            blob=unquote(scope["raw_path"].decode()).split("/", 2)[-1],
            comp=query.get("comp", [""])[0],
            sender="node" if "sig" in query else "run",
        )
        drop = faults.first(Drop)
        if delay := faults.first(Delay):
            await asyncio.sleep(delay.seconds)
        if hold := faults.first(Hold):
            await self._withdrawal_of(hold)
        if refusal := faults.first(Refusal):
            await _refuse(refusal, receive, send)
        elif drop and drop.when == "before":
            _abort(send)
        else:
            async with self._forwarded(scope, faults.slow(_chunks(receive))) as response:
                await _respond(response, faults, send)

    async def _withdrawal_of(self, fault: Fault) -> None:
        """Wait until the fault is withdrawn, which another thread does."""
        while any(each.fault is fault for each in self._active):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def _forwarded(
        self, scope: Scope, body: AsyncIterator[bytes]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Forward the request with its headers, `Host` included, and yield the response."""
        headers = [(n.decode(), v.decode("latin-1")) for n, v in _kept(scope["headers"])]
        has_body = dict(headers).get("content-length", "0") != "0"
        place = f"http://{urlsplit(self._endpoint).netloc}{scope['raw_path'].decode()}"
        query = scope["query_string"].decode()
        async with (
            aiohttp.ClientSession(
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            ) as session,
            session.request(
                scope["method"],
                URL(f"{place}?{query}" if query else place, encoded=True),
                headers=headers,
                data=body if has_body else None,
                allow_redirects=False,
            ) as response,
        ):
            yield response


def _parts(connection_string: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in connection_string.split(";") if part)
    return dict((name, value) for name, value in pairs)  # noqa: C402  for the type checker


def _kept(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("The client has disconnected.")
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _refuse(refusal: Refusal, receive: Receive, send: Send) -> None:
    async for _ in _chunks(receive):
        pass
    code = refusal.code or CODES[refusal.status]
    body = BODY.format(code=code).encode()
    headers = {"content-type": "application/xml", "content-length": str(len(body))}
    headers["x-ms-error-code"] = code
    if refusal.retry_after_seconds is not None:
        headers["retry-after"] = str(refusal.retry_after_seconds)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _respond(response: aiohttp.ClientResponse, faults: RequestFaults, send: Send) -> None:
    """Send the response to the client, up to the point where a `Drop` breaks the connection."""
    drop = faults.first(Drop)
    if drop and drop.when == "after":
        _abort(send)
        return
    headers = _kept(response.raw_headers)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    async for chunk in faults.slow(response.content.iter_chunked(CHUNK_BYTES)):
        half = chunk[: len(chunk) // 2] if drop else chunk
        await send({"type": "http.response.body", "body": half, "more_body": True})
        if drop:
            _abort(send)
            return
    await send({"type": "http.response.body"})


def _abort(send: Send) -> None:
    """Break the connection, which uvicorn keeps in the object that `send` is a method of."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]


@contextmanager
def running_proxy(connection_string: str) -> Iterator[StorageProxy]:
    """Run a proxy in front of this storage, on a free port."""
    proxy = StorageProxy(connection_string)
    with served(
        proxy,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    ) as proxy.port:
        yield proxy
