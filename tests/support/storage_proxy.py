"""A proxy before Azurite that refuses, delays, drops and slows requests as a cloud's storage does.

Requests pass as they came: their signatures cover the path and the headers, which stay, and not the
address, which is the proxy's. Bodies are streamed.
"""

import asyncio
import fnmatch
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
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
    "<Error><Code>{code}</Code><Message>This fault was ordered</Message></Error>"
)
CODES = {
    403: "AuthorizationFailure",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServerBusy",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What befalls the requests that fit: always, so many times, or by chance."""

    method: str = "*"
    blob: str = "*"
    """A pattern for `container/name`, percent-decoded."""
    comp: str = "*"
    """A pattern for the parameter that tells operations apart: `lease`, `block`, `list`, ..."""
    times: int | None = None
    chance: float = 1.0

    def fits(self, *, method: str, blob: str, comp: str) -> bool:
        given = ((method, self.method), (blob, self.blob), (comp, self.comp))
        return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in given)


@dataclass(frozen=True, kw_only=True)
class Refusal(Fault):
    """An answer of an error, with or without `Retry-After`."""

    status: Literal[403, 429, 500, 503]
    retry_after_seconds: int | None = None
    code: str = ""
    """Azure's, if another than is usual for the status."""


@dataclass(frozen=True, kw_only=True)
class Drop(Fault):
    """The connection breaks: before storage hears, after it has answered, or in the answer."""

    when: Literal["before", "after", "within"]


@dataclass(frozen=True, kw_only=True)
class Delay(Fault):
    """Storage hears only after a while."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Bandwidth(Fault):
    """A line that all requests that fit share, for bodies in both directions."""

    bytes_per_second: float


Kind = TypeVar("Kind", bound=Fault)


class Asked(NamedTuple):
    """A request that came by, and when."""

    method: str
    blob: str
    comp: str
    at_seconds: float


@dataclass
class Standing:
    """A fault, how often it has yet to strike, and when its line is free again."""

    fault: Fault
    left: int | None
    free_at: float = 0

    def reserve(self, size: int, now: float) -> float:
        """The seconds until so many bytes have passed the line."""
        assert isinstance(self.fault, Bandwidth)
        self.free_at = max(now, self.free_at) + size / self.fault.bytes_per_second
        return self.free_at - now


@dataclass
class Strikes:
    """What befalls one request."""

    standing: list[Standing] = field(default_factory=list)

    def first(self, kind: type[Kind]) -> Kind | None:
        found = (each.fault for each in self.standing if isinstance(each.fault, kind))
        return next(found, None)

    async def slow(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks, as fast as the lines let them pass."""
        lines = [each for each in self.standing if isinstance(each.fault, Bandwidth)]
        async for chunk in chunks:
            waits = [line.reserve(len(chunk), time.monotonic()) for line in lines]
            if waits:
                await asyncio.sleep(max(waits))
            yield chunk


class StorageProxy:
    """An ASGI application that passes requests on to the storage of a connection string."""

    def __init__(self, connection_string: str) -> None:
        """Nothing is ordered yet; chance starts from the seed 0."""
        self.target = connection_string
        self.port = 0
        self.requests: list[Asked] = []
        self._endpoint = _parts(connection_string)["BlobEndpoint"]
        self._standing: list[Standing] = []
        self._random = random.Random(0)  # noqa: S311 - reproducible on purpose
        self._lock = threading.Lock()

    @property
    def connection_string(self) -> str:
        """The same account, by way of the proxy."""
        address = f"127.0.0.1:{self.port}"
        return self.target.replace(urlsplit(self._endpoint).netloc, address)

    def order(self, fault: Fault) -> None:
        """Let the fault strike from now on; what was ordered before stays."""
        with self._lock:
            self._standing.append(Standing(fault, fault.times))

    def seed(self, seed: int) -> None:
        """From here on, what is by chance is the same each time."""
        self._random.seed(seed)

    def clear(self) -> None:
        """Take back what was ordered."""
        with self._lock:
            self._standing.clear()

    def strikes(self, *, method: str, blob: str, comp: str) -> Strikes:
        """What befalls this request, which counts against the faults' `times`."""
        with self._lock:
            self.requests.append(Asked(method, blob, comp, time.monotonic()))
            struck = [each for each in self._standing if self._strikes(each, method, blob, comp)]
            self._standing = [each for each in self._standing if each.left != 0]
            return Strikes(struck)

    def _strikes(self, standing: Standing, method: str, blob: str, comp: str) -> bool:
        fault = standing.fault
        if not fault.fits(method=method, blob=blob, comp=comp):
            return False
        if self._random.random() >= fault.chance:
            return False
        if standing.left is not None:
            standing.left -= 1
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        strikes = self.strikes(
            method=scope["method"],
            blob=unquote(scope["raw_path"].decode()).split("/", 2)[-1],
            comp=parse_qs(scope["query_string"].decode()).get("comp", [""])[0],
        )
        drop = strikes.first(Drop)
        if delay := strikes.first(Delay):
            await asyncio.sleep(delay.seconds)
        if refusal := strikes.first(Refusal):
            await _refuse(refusal, receive, send)
        elif drop and drop.when == "before":
            _abort(send)
        else:
            async with self._passed_on(scope, strikes.slow(_chunks(receive))) as response:
                await _answer(response, strikes, send)

    @asynccontextmanager
    async def _passed_on(
        self, scope: Scope, body: AsyncIterator[bytes]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Storage's answer to the request, whose headers stay as they are, the address too."""
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
    return dict((name, value) for name, value in pairs)  # noqa: C402 - for the type checker


def _kept(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client went away")
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


async def _answer(response: aiohttp.ClientResponse, strikes: Strikes, send: Send) -> None:
    """Pass storage's answer on, as far as the connection is not to break."""
    drop = strikes.first(Drop)
    if drop and drop.when == "after":
        _abort(send)
        return
    headers = _kept(response.raw_headers)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    async for chunk in strikes.slow(response.content.iter_chunked(CHUNK_BYTES)):
        half = chunk[: len(chunk) // 2] if drop else chunk
        await send({"type": "http.response.body", "body": half, "more_body": True})
        if drop:
            _abort(send)
            return
    await send({"type": "http.response.body"})


def _abort(send: Send) -> None:
    """Break the connection: uvicorn's `send` is a method of what holds it."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]


@contextmanager
def running_proxy(connection_string: str) -> Iterator[StorageProxy]:
    """A proxy before this storage, on a free port, for as long as the block runs."""
    proxy = StorageProxy(connection_string)
    with served(
        proxy,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    ) as proxy.port:
        yield proxy
