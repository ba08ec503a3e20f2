"""A blob service that accepts every block, stores nothing, and counts the bytes."""

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
    """The service: its port and how many bytes it has received."""

    def __init__(self, together: int) -> None:
        """Hold each response back until `together` requests wait in parallel."""
        self.port = 0
        self._together = asyncio.Barrier(together)
        self.bytes_received = 0

    @property
    def connection_string(self) -> str:
        """A connection string for this service. Its key is valid Base64."""
        return (
            "DefaultEndpointsProtocol=http;AccountName=hole;AccountKey=a2V5;"
            f"BlobEndpoint=http://127.0.0.1:{self.port}/hole;"
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond with 201 to each request of the connection."""
        try:
            while head := await self._head(reader):
                await self._discard_body(head, reader)
                await self._together.wait()
                writer.write(CREATED)
                await writer.drain()
        finally:
            writer.close()

    async def _discard_body(self, head: bytes, reader: asyncio.StreamReader) -> None:
        left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        while left:
            chunk = await reader.read(min(left, CHUNK_BYTES))
            left -= len(chunk)
            self.bytes_received += len(chunk)

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


@contextmanager
def black_hole(*, together: int = 1) -> Iterator[BlackHole]:
    """Run a black hole in a thread."""
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
    """Close the server, and cancel the tasks that serve connections which are still open."""
    server.close()
    serving = asyncio.all_tasks() - {asyncio.current_task()}
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
