"""Ports on loopback: requested ones and free ones."""

import asyncio
import socket

import pytest

from local_azure.errors import StackUsageError
from local_azure.ports import answers, free_port, listen, preferred_port


def test_a_used_port_is_an_error_if_requested_and_skipped_if_preferred() -> None:
    with listen(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackUsageError, match=f"Port {port} is in use. Choose another"):
            free_port(port)
        assert preferred_port(port) == 0
        assert answers(port)
    assert preferred_port(port) == port
    assert not answers(port)


async def test_answers_from_a_socket_of_ours_are_not_delayed() -> None:
    """Nagle's algorithm is off: asyncio does that for named protocols only."""
    delays: asyncio.Queue[int] = asyncio.Queue()

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        await delays.put(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with listen(0) as listener:
        async with await asyncio.start_server(tell, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            assert await delays.get() != 0
            writer.close()
            await writer.wait_closed()
