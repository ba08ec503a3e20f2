"""The way to the network, and whom it trusts: what `SSL_CERT_FILE` names when a client is made.

aiohttp, which is below the SDKs' async clients, goes on trusting whom it did when it was imported.
"""

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.request import getproxies

import certifi

if TYPE_CHECKING:
    from azure.core.pipeline.transport import AioHttpTransport

TIMEOUTS: Any = {"connection_timeout": 10, "read_timeout": 60}  # seconds


@asynccontextmanager
async def opened_transport() -> "AsyncIterator[AioHttpTransport]":
    """What clients and credentials send their requests by, for as long as the block runs."""
    import aiohttp
    from azure.core.pipeline.transport import AioHttpTransport

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trusted()),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=bool(getproxies()),  # then two threads look the environment up for each request
        auto_decompress=False,  # the SDKs do that
    ) as session:
        yield AioHttpTransport(session=session, session_owner=False, **TIMEOUTS)


def trusted() -> ssl.SSLContext | Literal[True]:
    """Whom this process trusts by now. True: whom aiohttp does, as nothing else is named."""
    named = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return _context(*named) if any(named) else True


@lru_cache(maxsize=4)
def _context(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Reads some 140 certificates, which takes as long as 20 requests."""
    return ssl.create_default_context()  # OpenSSL reads both by itself


def trusted_file() -> str:
    """The same as a file, for what does not read the environment; FFmpeg verifies nothing else."""
    return ssl.get_default_verify_paths().cafile or certifi.where()
