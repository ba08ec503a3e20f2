"""Pytest fixtures: local stacks, clients of their accounts, and faults on demand.

A project opts in with `-p local_azure.pytest_plugin` in pytest's `addopts`. The plugin is not an
entry point (`pytest11`): it removes the settings of real accounts from the environment, which must
not happen to a project only because this package is installed too.
"""

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.rest import HttpRequest
from azure.storage.blob import BlobServiceClient

from local_azure.testing import LocalStack, local_stack

MARKER = "accounts(*kinds): run against accounts with a `key`, or that are signed in to by `entra`"
FAULTS = "/_local/faults?api-version=2025-06-01"
NODES = 4
MACHINE = models.VirtualMachineConfiguration(
    image_reference=models.BatchVmImageReference(
        publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
    ),
    node_agent_sku_id="batch.node.ubuntu 24.04",
)
DATA = pytest.StashKey[Path]()
REAL_SETTINGS = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests away from the user's data and accounts, in this process and its children.

    The user's cache stays in use: Azurite is installed there once. A shell that starts pytest in
    the background ignores SIGINT, and children inherit that: the tests send them SIGINT.
    """
    config.addinivalue_line("markers", MARKER)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    names = [name for name in os.environ if name.startswith("AZURE_")]
    config.stash[REAL_SETTINGS] = {name: os.environ.pop(name) for name in names}
    config.stash[DATA] = Path(tempfile.mkdtemp(prefix="local-azure-tests-"))
    os.environ["XDG_DATA_HOME"] = str(config.stash[DATA])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the tests' data folder."""
    shutil.rmtree(config.stash[DATA], ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests against accounts with keys, and those marked `accounts` with each kind they name.

    With ACCOUNTS=entra every test runs with sign-in, except those marked with `key` alone. With
    ACCOUNTS=azure the project's own fixtures decide.
    """
    kinds = os.environ.get("ACCOUNTS")
    if "account" not in metafunc.fixturenames or kinds == "azure":
        return
    mark = metafunc.definition.get_closest_marker("accounts")
    if kinds == "entra":
        is_run = mark is None or "entra" in mark.args
        metafunc.parametrize("account", ["entra"] if is_run else [], indirect=True)
    elif mark:
        metafunc.parametrize("account", mark.args, indirect=True)


@pytest.fixture(scope="session")
def real_settings(pytestconfig: pytest.Config) -> dict[str, str]:
    """Return the user's own AZURE_ settings, for tests that run against a real account."""
    return pytestconfig.stash[REAL_SETTINGS]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run the stack that tests share: four nodes at most."""
    with local_stack(tmp_path_factory.mktemp("stack"), "--nodes", str(NODES)) as stack:
        yield stack


@pytest.fixture(scope="session")
def tls_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run a second stack over TLS, with sign-in by Microsoft Entra ID."""
    folder = tmp_path_factory.mktemp("tls-stack")
    with local_stack(folder, "--nodes", str(NODES), "--tls") as stack:
        yield stack


@pytest.fixture(scope="session")
def usual_stack(request: pytest.FixtureRequest) -> LocalStack:
    """Return the stack of tests without the marker `accounts`."""
    return _stack_of(request, os.environ.get("ACCOUNTS"))


@pytest.fixture
def account_stack(request: pytest.FixtureRequest) -> LocalStack:
    """Return the stack that the test's accounts are on."""
    callspec = getattr(request.node, "callspec", None)
    return _stack_of(request, callspec.params.get("account") if callspec else None)


def _stack_of(request: pytest.FixtureRequest, kind: str | None) -> LocalStack:
    stack: LocalStack = request.getfixturevalue("tls_stack" if kind == "entra" else "stack")
    return stack


@pytest.fixture
def account(account_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the stack's settings, and put them into this process's environment."""
    for name, value in account_stack.settings.items():
        monkeypatch.setenv(name, value)
    return account_stack.settings


@pytest.fixture
def batch(account: dict[str, str], request: pytest.FixtureRequest) -> Iterator[BatchClient]:
    """Yield a client of the account's Batch service that authenticates with the account's key."""
    secret = account.get("AZURE_BATCH_ACCESS_KEY")
    secret = secret or request.getfixturevalue("account_stack").batch_key
    key = AzureNamedKeyCredential(account["AZURE_BATCH_ACCOUNT"], secret)
    with BatchClient(account["AZURE_BATCH_ENDPOINT"], key) as client:
        yield client


@pytest.fixture
def blobs(account: dict[str, str], account_stack: LocalStack) -> Iterator[BlobServiceClient]:
    """Yield a client of the stack's storage that authenticates with the account's key."""
    del account  # its settings are in the environment while the test runs
    with BlobServiceClient.from_connection_string(account_stack.storage_connection) as client:
        yield client


@pytest.fixture
def free_quota(batch: BatchClient) -> None:
    """Delete the pools that earlier tests left, so that no node counts against the quota."""
    names = [pool.id for pool in batch.list_pools() if pool.state == "active"]
    for poller in [batch.begin_delete_pool(name, polling_interval=0) for name in names]:
        poller.wait()


@pytest.fixture
def clear_faults(batch: BatchClient) -> Callable[[], None]:
    """Return a function that removes all faults."""
    return lambda: batch.send_request(HttpRequest("DELETE", FAULTS)).raise_for_status()


@pytest.fixture
def spot_pool(batch: BatchClient) -> Iterator[str]:
    """Yield the id of a pool of one Spot node; delete the pool after the test."""
    pool_id = f"pool-{uuid.uuid4().hex[:8]}"
    batch.create_pool(
        models.BatchPoolCreateOptions(
            id=pool_id,
            vm_size="Standard_D2ds_v5",
            virtual_machine_configuration=MACHINE,
            target_low_priority_nodes=1,
        )
    )
    yield pool_id
    batch.begin_delete_pool(pool_id, polling_interval=0).wait()


@pytest.fixture
def order(batch: BatchClient, clear_faults: Callable[[], None]) -> Iterator[Callable[..., None]]:
    """Yield a function that orders a fault; remove all faults after the test."""

    def order_fault(kind: str, **fields: Any) -> None:
        request = HttpRequest("POST", FAULTS, json={"kind": kind, **fields})
        batch.send_request(request).raise_for_status()

    yield order_fault
    clear_faults()
