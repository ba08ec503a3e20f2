"""Fixtures for tests of the whole stack: programs that they start, and clients of TLS stacks."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient
from hypothesis import settings

from processes import Program


def pytest_configure() -> None:
    settings.register_profile("patient", deadline=None)  # a busy machine fails no test
    settings.load_profile("patient")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Yield a function that starts a Python program; kill the program after the test."""
    with ExitStack() as programs:

        def start_program(*arguments: str | Path) -> Program:
            program = Program(*arguments, cwd=tmp_path)
            programs.enter_context(program.process)
            programs.callback(program.process.kill)
            return program

        yield start_program


@pytest.fixture
def start_stack(start: Callable[..., Program], data: Path) -> Callable[..., Program]:
    """Return a function that starts `python -m local_azure` on free ports and `data`."""

    def start_on_free_ports(*flags: str | Path) -> Program:
        ports = ("--batch-port", "0", "--blob-port", "0")
        return start("-m", "local_azure", *ports, "--data", data, *flags)

    return start_on_free_ports


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the path of the test's data folder."""
    return tmp_path / "data folder"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with sh, env and cat the only one on PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "env", "cat"):
        (folder / name).symlink_to(shutil.which(name) or pytest.fail(f"requires {name}"))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def container() -> Callable[[dict[str, str]], ContainerClient]:
    """Return a function that opens the test's container in an account, given its settings."""

    def open_container(settings: dict[str, str]) -> ContainerClient:
        connection = settings["AZURE_STORAGE_CONNECTION_STRING"]
        client = BlobServiceClient.from_connection_string(connection, retry_total=0)
        container = client.get_container_client("library")
        with suppress(ResourceExistsError):
            container.create_container()
        return container

    return open_container


@pytest.fixture
def order_flaw(order: Callable[..., None]) -> Callable[[str], None]:
    """Return a function that orders a flaw of all tokens for Batch."""
    return lambda flaw: order(kind="token", flaw=flaw, resource="https://batch.*")


@pytest.fixture
def credential(account: dict[str, str]) -> Iterator[DefaultAzureCredential]:
    """Yield a sync credential that does not ask the public cloud whether it knows the tenant."""
    assert account
    with DefaultAzureCredential(disable_instance_discovery=True) as credential:
        yield credential
