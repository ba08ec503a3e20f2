"""Fixtures for tests of every folder: a Prefect server, storage that fails, a small disk.

Local stacks, their clients and their faults come from the plugin `local_azure.pytest_plugin`.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from databases import EmptyDatabase
from hypothesis import settings

from flows.cli.prefect_server import running_server
from local_azure.locks import excluding
from storage_proxy import StorageProxy, running_proxy

pytest_plugins = ["media", "impostors", "ffmpegs", "films", "recipes"]
ROOT = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests away from the user's Prefect, in this process and its children."""
    settings.register_profile("patient", deadline=None)  # a busy machine fails no test
    settings.load_profile("patient")
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    config.stash[ROOT] = Path(tempfile.mkdtemp(prefix="batch-convert-tests-"))
    os.environ["PREFECT_HOME"] = str(config.stash[ROOT] / "prefect")
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the tests' Prefect home."""
    shutil.rmtree(config.stash[ROOT], ignore_errors=True)


@pytest.fixture
def storage_faults(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[StorageProxy]:
    """Yield a proxy between this process and the stack's storage, which fails on demand."""
    name = "AZURE_STORAGE_CONNECTION_STRING"
    if name not in account:
        pytest.skip("the proxy speaks plain HTTP")
    with running_proxy(account[name]) as proxy:
        monkeypatch.setenv(name, proxy.connection_string)
        yield proxy


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 4 MiB, which only root may do, and yield its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() or not (mount and umount):
        pytest.skip("requires root: mounts a disk")
    command = [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount a disk here: {made.stderr}")
    yield folder
    subprocess.run([umount, folder], check=True)


@pytest.fixture
def containers() -> tuple[str, str]:
    """Return names of an output and an input container that no other test uses."""
    name = uuid.uuid4().hex[:12]
    return f"output-{name}", f"input-{name}"


@pytest.fixture(scope="session")
def _database(tmp_path_factory: pytest.TempPathFactory) -> EmptyDatabase:
    """Return the place of a database that the first Prefect server of all processes makes."""
    folder = tmp_path_factory.getbasetemp()
    is_shared = "PYTEST_XDIST_WORKER" in os.environ
    return EmptyDatabase((folder.parent if is_shared else folder) / "prefect.db")


@pytest.fixture
def empty_database(prefect_server: str, _database: EmptyDatabase) -> EmptyDatabase:
    """Return a database that other Prefect servers can start with."""
    assert prefect_server
    return _database


@pytest.fixture(scope="session")
def prefect_server(
    tmp_path_factory: pytest.TempPathFactory, _database: EmptyDatabase
) -> Iterator[str]:
    """Run the Prefect server that flows use, here and in children; yield the URL of its API."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import PREFECT_API_URL, temporary_settings

    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as parts:
        with excluding(_database.path.with_suffix(".lock")):
            is_made = _database.path.exists()
            if is_made:
                _database.copy_to(folder)
            server = parts.enter_context(running_server(folder))
            url = server.wait()
            if not is_made:
                _database.copy_from(server.home)
        patch = parts.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("PREFECT_API_URL", url)
        with temporary_settings({PREFECT_API_URL: url}):
            yield url
            APILogHandler().flush()  # while the server still runs
            EventsWorker.drain_all()


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Record the SIGTERMs that this process receives, so that they do not end it."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)
