"""TCP ports on loopback."""

import errno
import socket

from local_azure.errors import StackUsageError

LOOPBACK = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """Return a socket bound to `port`. Port 0: any free one.

    Raises:
        StackUsageError: The port is taken.
    """
    # asyncio sets TCP_NODELAY only if the protocol is named. Without it, answers take 40 ms longer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        reason = "in use" if error.errno == errno.EADDRINUSE else f"not available ({error})"
        raise StackUsageError(
            f"Port {port} is {reason}.", "Choose another port, or 0 for any free one."
        ) from error
    return listener


def free_port(port: int) -> int:
    """Return `port` if it is free. Port 0: return any free one.

    Raises:
        StackUsageError: The port is taken.
    """
    with listen(port) as listener:
        return int(listener.getsockname()[1])


def preferred_port(port: int) -> int:
    """Return `port` if it is free, or 0, which stands for any free one."""
    try:
        return free_port(port)
    except StackUsageError:
        return 0


def answers(port: int) -> bool:
    """Return whether a server listens on `port`."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
