"""Local stacks for tests: `python -m local_azure` on a data folder and ports of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_azure import env_file
from local_azure.folder import DataFolder
from local_azure.settings import BATCH_ACCOUNT, STORAGE_ACCOUNT

STOP_SECONDS = 30


@dataclass(frozen=True)
class LocalStack:
    """A running local stack: its settings, its data folder and its process."""

    settings: dict[str, str]
    data: Path
    process: subprocess.Popen[str]

    @property
    def batch_key(self) -> str:
        """The Batch account's key. With `--tls` it is not in the settings."""
        return DataFolder(self.data).key(BATCH_ACCOUNT)

    @property
    def storage_connection(self) -> str:
        """A connection string with the storage account's key."""
        if given := self.settings.get("AZURE_STORAGE_CONNECTION_STRING"):
            return given
        key = DataFolder(self.data).key(STORAGE_ACCOUNT)
        endpoint = self.settings["AZURE_STORAGE_SERVICE_ENDPOINT"]
        return f"AccountName={STORAGE_ACCOUNT};AccountKey={key};BlobEndpoint={endpoint}"


@contextmanager
def local_stack(data: Path, *flags: str) -> Iterator[LocalStack]:
    """Run a stack on `data` and free ports until the block, or this process, ends."""
    program = [sys.executable, "-m", "local_azure", "--until-stdin-closes"]
    ports = ["--batch-port", "0", "--blob-port", "0"]
    with subprocess.Popen(
        [*program, *ports, "--data", data, *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("The stack was started without pipes.")
        lines = iter(process.stdout.readline, "ready\n")
        if not all(lines):
            raise RuntimeError("The stack ended before it was ready.")
        yield LocalStack(env_file.read(data / "stack.env"), data, process)
        process.stdin.close()
        if status := process.wait(STOP_SECONDS):
            raise RuntimeError(f"The stack ended with exit status {status}.")
