"""Prefect's server in a process of its own: `python -m flows.cli.prefect_server_process HOME PORT`.

It prints the URL of its API once it responds, and ends when its standard input closes: with its
parent, however that ends. It starts in three quarters of the CPU time of `prefect server start`.
"""

import asyncio
import fcntl
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.garbage import keep_imports, pause_collection

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = "127.0.0.1"
STOP_SECONDS = 2  # for open requests
GRACE_SECONDS = 4  # for the whole server
POLL_SECONDS = 0.02


def main(home: Path, port: int) -> None:
    """Serve until a signal comes, or standard input closes."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    listener = listen(port)
    url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
    use_own_settings(home, url)
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print goes to the log
    pause_collection()
    import uvicorn
    from prefect.server.api.server import create_app

    from flows.cli.prefect_database import queue_transactions

    queue_transactions()
    app = create_app()
    keep_imports()
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=STOP_SECONDS)
    announce = partial(os.write, answer, f"{url}/api\n".encode())
    asyncio.run(serve(uvicorn.Server(config), listener, home=home, announce=announce))


def end_with_parent() -> None:
    """End this process when the parent closes our standard input."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


def listen(port: int) -> socket.socket:
    """Return a socket that listens on this port, or on another one if it is 0 or taken."""
    # asyncio sets TCP_NODELAY only if the protocol is named: without it, a response takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError:
        listener.bind((LOOPBACK, 0))
    listener.listen()
    return listener


def use_own_settings(home: Path, url: str) -> None:
    """Replace the user's own Prefect settings, which are for their own servers."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ |= {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_PORT": url.rpartition(":")[2],
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_UI_API_URL": f"{url}/api",
        "PREFECT_UI_URL": url,  # for links in notifications
    }


async def serve(
    server: "uvicorn.Server", listener: socket.socket, *, home: Path, announce: Callable[[], object]
) -> None:
    with locked(home / "starting"):
        serving = asyncio.create_task(serve_unless_failed(server, listener))
        while not (server.started or serving.done()):  # noqa: ASYNC110  uvicorn has no event
            await asyncio.sleep(POLL_SECONDS)
    if server.started:
        announce()
    await serving


async def serve_unless_failed(server: "uvicorn.Server", listener: socket.socket) -> None:
    with suppress(SystemExit):  # after a failed start, whose reason uvicorn has logged
        await server.serve(sockets=[listener])


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process creates or migrates the same database."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
