"""A Prefect server of a command's own, where no API is set."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from local_azure.azurite import last_words
from local_azure.child import start_child, stop_child
from local_azure.errors import StackError
from local_azure.folder import DataFolder
from local_azure.locks import Lock
from local_azure.ports import LOOPBACK, free_port, preferred_port

START_SECONDS = 180  # the first start makes the database: 27 s have been seen on a busy machine
PROGRAM = ("-P", "-m", "flows.cli.prefect_server_process")


@contextmanager
def running_server(data: Path | None = None, *, port: int = 0) -> Iterator["Server"]:
    """A Prefect server for as long as the block runs; it is still starting at first.

    Where `port` is 0 or taken, it listens on another.

    Raises:
        StackUsageError: The data folder cannot be had.
    """
    server = Server(DataFolder.at(data), port=port)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Server:
    """A Prefect server on loopback, with a database for each version of Prefect."""

    def __init__(self, folder: DataFolder, *, port: int) -> None:
        """Nothing runs yet."""
        self.home = folder.path / f"prefect-{version('prefect')}"
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.log = self.home / "server.log"
        self.starting = Lock.at(self.home / "starting")
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, unless another is making or migrating the same database."""
        if self.starting.try_exclude():
            self._start_process()

    def wait(self) -> str:
        """The API's URL, when the server is healthy.

        Raises:
            StackError: It does not start; with its last words.
        """
        if self.process is None:
            self.starting.exclude()
            self._start_process()
        deadline = time.monotonic() + START_SECONDS
        while not (is_healthy(self.port) and is_at_home(self.port, self.home)):
            self._check_start(deadline)
            time.sleep(0.05)
        self.starting.release()
        return f"http://{LOOPBACK}:{self.port}/api"

    def hang_up(self) -> None:
        """Let the process end, and do not wait for it."""
        if self.process is not None and self.process.stdin:
            self.process.stdin.close()

    def stop(self) -> None:
        """End the process, within seconds."""
        if self.process is not None:
            stop_child(self.process)
        self.starting.close()

    def _start_process(self) -> None:
        self.port = free_port(preferred_port(self.port))
        with self.log.open("wb") as log:
            self.process = start_child(
                [sys.executable, *PROGRAM, LOOPBACK, str(self.port)],
                log=log,
                folder=self.home,
                environment=environment(self.home, self.port),
            )

    def _check_start(self, deadline: float) -> None:
        if self.process is None or self.process.poll() is not None:
            words = last_words(self.log)
            raise StackError(f"The Prefect server did not start. Its last words: {words}")
        if time.monotonic() > deadline:
            message = (
                f"The Prefect server did not answer within {START_SECONDS} s: see {self.log}, "
                "and try again, or set PREFECT_API_URL to a server that runs."
            )
            raise StackError(message)


def environment(home: Path, port: int) -> Mapping[str, str]:
    """This process's, without the user's own Prefect settings: they are for their own servers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_UI_API_URL": f"http://{LOOPBACK}:{port}/api",
        "PREFECT_UI_URL": f"http://{LOOPBACK}:{port}",  # for links in notifications
    }


def is_healthy(port: int) -> bool:
    """Whether the server answers, and its database too."""
    return ask(port, "/api/health") is not None


def is_at_home(port: int, home: Path) -> bool:
    """Whether it is the one of this folder: another may have taken the port before ours did."""
    settings = ask(port, "/api/admin/settings")
    return settings is not None and json.loads(settings).get("home") == str(home)


def ask(port: int, path: str) -> bytes | None:
    """The body of the answer; None where there is none, or not this one."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
