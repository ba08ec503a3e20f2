"""Programs that are really started, and ways to see that they have ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ResourceExistsError
from azure.core.rest import HttpRequest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient

from stacks import LocalStack


class Program:
    """A Python program in a session of its own, its stdin a pipe that is ours."""

    def __init__(self, *arguments: str | Path, cwd: Path) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            text=True,
            start_new_session=True,
        )

    def wait_until(self, line: str) -> list[str]:
        """The lines that it prints before `line`."""
        assert self.process.stdout
        before = list(iter(self.process.stdout.readline, f"{line}\n"))
        assert self.process.poll() is None, before
        return before

    def send(self, number: signal.Signals) -> None:
        """Send it alone a signal."""
        os.kill(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """Close its stdin, wait for its end; its status and the rest of what it printed."""
        stdout, stderr = self.process.communicate(timeout=30)
        return self.process.returncode, stdout, stderr


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts a Python program; it is ended with the test at the latest."""
    with ExitStack() as programs:

        def start_program(*arguments: str | Path) -> Program:
            program = Program(*arguments, cwd=tmp_path)
            programs.enter_context(program.process)
            programs.callback(program.process.kill)
            return program

        yield start_program


@pytest.fixture
def start_stack(start: Callable[..., Program], data: Path) -> Callable[..., Program]:
    """Starts `python -m local_azure` on free ports and the test's data folder."""

    def start_on_free_ports(*flags: str | Path) -> Program:
        ports = ("--batch-port", "0", "--blob-port", "0")
        return start("-m", "local_azure", *ports, "--data", data, *flags)

    return start_on_free_ports


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of one test."""
    return tmp_path / "data folder"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is on PATH; it has sh, env and cat."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "env", "cat"):
        (folder / name).symlink_to(shutil.which(name) or pytest.fail(f"no {name} here"))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def processes(word: Path) -> list[int]:
    """The processes whose command line has `word` in it."""
    listing = subprocess.run(
        ["/bin/ps", "-A", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if str(word) in line]


@pytest.fixture
def processes_of() -> Callable[[Path], list[int]]:
    """Finds the processes that have a path in their command lines."""
    return processes


@pytest.fixture
def all_end() -> Callable[[Path], bool]:
    """Whether the processes that have a path in their command lines end within seconds."""

    def none_is_left(word: Path) -> bool:
        deadline = time.monotonic() + 20
        while processes(word) and time.monotonic() < deadline:
            pass
        return not processes(word)

    return none_is_left


@pytest.fixture
def container() -> Callable[[dict[str, str]], ContainerClient]:
    """The test's container in the storage account of some settings, made where it is missing."""

    def open_container(settings: dict[str, str]) -> ContainerClient:
        connection = settings["AZURE_STORAGE_CONNECTION_STRING"]
        client = BlobServiceClient.from_connection_string(connection, retry_total=0)
        container = client.get_container_client("library")
        with suppress(ResourceExistsError):
            container.create_container()
        return container

    return open_container


@pytest.fixture
def settings(tls_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a TLS stack writes, which this process has in its environment."""
    for name, value in tls_stack.settings.items():
        monkeypatch.setenv(name, value)
    return tls_stack.settings


@pytest.fixture
def by_key(settings: dict[str, str], tls_stack: LocalStack) -> Iterator[BatchClient]:
    """A client by the account's key, which is taken over TLS too."""
    key = AzureNamedKeyCredential(settings["AZURE_BATCH_ACCOUNT"], tls_stack.batch_key)
    with BatchClient(settings["AZURE_BATCH_ENDPOINT"], key, retry_total=0) as client:
        yield client


@pytest.fixture
def order(by_key: BatchClient) -> Iterator[Callable[..., None]]:
    """Orders a fault of the TLS stack; all are taken back after the test."""
    address = "/_local/faults?api-version=2025-06-01"

    def order_fault(**body: Any) -> None:
        by_key.send_request(HttpRequest("POST", address, json=body)).raise_for_status()

    yield order_fault
    by_key.send_request(HttpRequest("DELETE", address)).raise_for_status()


@pytest.fixture
def order_flaw(order: Callable[..., None]) -> Callable[[str], None]:
    """Orders a flaw of all tokens for Batch."""
    return lambda flaw: order(kind="token", flaw=flaw, resource="https://batch.*")


@pytest.fixture
def credential(settings: dict[str, str]) -> Iterator[DefaultAzureCredential]:
    """A sync one: MSAL, which is below it, would ask the public cloud whether it knows us."""
    assert settings
    with DefaultAzureCredential(disable_instance_discovery=True) as credential:
        yield credential
