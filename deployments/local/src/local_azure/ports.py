"""TCP ports on loopback."""

import errno
import socket

from local_azure.errors import StackUsageError

LOOPBACK = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """A socket that is bound to `port`, or to any free one where it is 0.

    Raises:
        StackUsageError: The port is taken.
    """
    # asyncio sets TCP_NODELAY only where the protocol is named; without, an answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error})"
        message = f"Port {port} {reason}: name another, or leave it to be chosen."
        raise StackUsageError(message) from error
    return listener


def free_port(port: int) -> int:
    """`port`, which is free now; or for 0, one that is.

    Raises:
        StackUsageError: The port is taken.
    """
    with listen(port) as listener:
        return int(listener.getsockname()[1])


def preferred_port(port: int) -> int:
    """`port` if it is free, else 0: any free one."""
    try:
        return free_port(port)
    except StackUsageError:
        return 0


def answers(port: int) -> bool:
    """Whether somebody listens on `port`."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
