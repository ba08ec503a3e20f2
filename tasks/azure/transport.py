"""The HTTP transport of the SDKs' clients, and the certificates that it trusts.

`SSL_CERT_FILE` counts when a client is created. aiohttp itself reads it only when it is imported.
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
async def open_transport() -> "AsyncIterator[AioHttpTransport]":
    """Yield a transport for clients and credentials, which is closed after the block."""
    import aiohttp
    from azure.core.pipeline.transport import AioHttpTransport

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls_trust()),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=bool(getproxies()),  # costs two threads per request
        auto_decompress=False,  # the SDKs decompress
    ) as session:
        yield AioHttpTransport(session=session, session_owner=False, **TIMEOUTS)


def tls_trust() -> ssl.SSLContext | Literal[True]:
    """Return the certificates that the environment names. True: the default of aiohttp."""
    named = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return _context(*named) if any(named) else True


@lru_cache(maxsize=4)
def _context(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """Read about 140 certificates, which takes as long as 20 requests."""
    return ssl.create_default_context()  # OpenSSL reads both variables by itself


def trusted_file() -> str:
    """Return the trusted certificates as a file. FFmpeg verifies servers only with a file."""
    return ssl.get_default_verify_paths().cafile or certifi.where()
