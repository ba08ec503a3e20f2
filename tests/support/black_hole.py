"""A blob service that takes every block, keeps nothing, and counts the bytes."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEADERS = (
    "ETag: 0x1\r\nLast-Modified: Sun, 22 Nov 2026 12:00:00 GMT\r\nx-ms-request-id: 1\r\n"
    "x-ms-version: 2025-01-05\r\nx-ms-request-server-encrypted: true\r\n"
)
CREATED = f"HTTP/1.1 201 Created\r\n{HEADERS}Content-Length: 0\r\n\r\n".encode()
CHUNK_BYTES = 1 << 20


class BlackHole:
    """Where it listens, and how much it has taken."""

    def __init__(self, together: int) -> None:
        """Nothing has come yet; answers wait until so many requests have come at once."""
        self.port = 0
        self._together = asyncio.Barrier(together)
        self.bytes_taken = 0

    @property
    def connection_string(self) -> str:
        """An account that is there, with a key that is Base64."""
        return (
            "DefaultEndpointsProtocol=http;AccountName=hole;AccountKey=a2V5;"
            f"BlobEndpoint=http://127.0.0.1:{self.port}/hole;"
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer 201 to one request after another."""
        try:
            while head := await self._head(reader):
                await self._swallow(head, reader)
                await self._together.wait()
                writer.write(CREATED)
                await writer.drain()
        finally:
            writer.close()

    async def _swallow(self, head: bytes, reader: asyncio.StreamReader) -> None:
        left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        while left:
            chunk = await reader.read(min(left, CHUNK_BYTES))
            left -= len(chunk)
            self.bytes_taken += len(chunk)

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


@contextmanager
def black_hole(*, together: int = 1) -> Iterator[BlackHole]:
    """One that listens in a thread until the block ends."""
    hole, loop = BlackHole(together), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listening = asyncio.start_server(hole.serve, "127.0.0.1", 0, limit=2 * CHUNK_BYTES)
    server = asyncio.run_coroutine_threadsafe(listening, loop).result()
    hole.port = server.sockets[0].getsockname()[1]
    yield hole
    asyncio.run_coroutine_threadsafe(_end(server), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _end(server: asyncio.Server) -> None:
    """Connections that are still open are served by tasks of their own."""
    server.close()
    serving = asyncio.all_tasks() - {asyncio.current_task()}
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
