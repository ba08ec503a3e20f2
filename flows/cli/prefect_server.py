"""A Prefect server for one command, if no other server is configured."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from platformdirs import user_data_path

from tasks.errors import ConvertError, SettingsError

START_SECONDS = 180  # the first start creates the database: 27 s were measured on a busy machine
STOP_SECONDS = 5
PROGRAM = ("-P", "-m", "flows.cli.prefect_server_process")
WORDS_LINES = 3
DATABASE = "prefect.db"  # in Prefect's home


def data_folder() -> Path:
    """Return the folder of the user's data in this project."""
    return user_data_path("batch-convert", appauthor=False)


@contextmanager
def running_server(data: Path | None = None, *, port: int = 0) -> Iterator["PrefectServer"]:
    """Run a Prefect server for as long as the block runs. It is still starting at first.

    If `port` is 0 or taken, it listens on another one.

    Raises:
        SettingsError: The data folder cannot be written.
    """
    server = PrefectServer(data or data_folder(), port=port)
    try:
        yield server
    finally:
        server.stop()


class PrefectServer:
    """A Prefect server on loopback, with a database for each version of Prefect.

    `is_new` is whether it first creates the database.
    """

    def __init__(self, data: Path, *, port: int) -> None:
        self.home = data.absolute() / f"prefect-{version('prefect')}"
        self.log = self.home / "server.log"
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)  # the local Azure uses it, too
            self.home.mkdir(mode=0o700, exist_ok=True)
            self.is_new = not (self.home / DATABASE).exists()
            log = self.log.open("wb")
        except OSError as error:
            raise SettingsError(
                f"The data folder {data} cannot be written: {error.strerror}.",
                "Change its permissions, or set XDG_DATA_HOME to another folder.",
            ) from error
        with log:
            self.process = subprocess.Popen(
                [sys.executable, *PROGRAM, self.home, str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.home,
                text=True,
                start_new_session=True,  # Ctrl-C is for the command
            )

    def wait(self) -> str:
        """Return the URL of the API, once the server responds.

        Raises:
            ConvertError: It does not start.
        """
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        try:
            url = self.process.stdout.readline().strip() if self.process.stdout else ""
        finally:
            timer.cancel()
        if not url:
            raise ConvertError(
                f"The Prefect server did not start. It printed: {self.last_words()}",
                f"See {self.log}, and try again; or set PREFECT_API_URL to a running server.",
            )
        return url

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        return " / ".join([line.strip() for line in lines if line.strip()][-WORDS_LINES:]) or "-"

    def hang_up(self) -> None:
        """Let the process end, and do not wait for it."""
        if self.process.stdin:
            with suppress(OSError):
                self.process.stdin.close()

    def stop(self) -> None:
        """End the process, and wait for it."""
        self.hang_up()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
