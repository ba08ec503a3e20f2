"""Fixtures for tests of the Batch service alone: the service itself, and Azurite beside it."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from azure.batch.aio import BatchClient as AsyncBatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient

from environments import PREVIOUS_CLIENT, python_with
from lab import (
    MAX_NODES,
    STORAGE_ACCOUNT,
    STORAGE_KEY,
    TIMEOUT_SECONDS,
    Blobs,
    FaultOrders,
    Lab,
    NewLab,
    Stubborn,
    serve,
    unique,
)
from local_azure.azurite import running_azurite


@pytest.fixture(scope="session")
def session_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with serve(tmp_path_factory.mktemp("nodes")) as lab:
        yield lab


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """Yield the service that tests share; delete the jobs and pools that the test leaves."""
    yield session_lab
    for job in list(session_lab.client.list_jobs()):
        with contextlib.suppress(HttpResponseError):
            session_lab.client.begin_delete_job(str(job.id), polling_interval=0).wait()
    for pool in list(session_lab.client.list_pools()):
        with contextlib.suppress(HttpResponseError):
            session_lab.client.begin_delete_pool(str(pool.id), polling_interval=0).wait()


@pytest.fixture(scope="session")
def old_python() -> Path:
    """Return a Python with the previous client, made once in the user's cache folder."""
    return python_with(PREVIOUS_CLIENT)


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[NewLab]:
    """Yield a function that serves a service of the test's own."""
    with contextlib.ExitStack() as stack:

        def start(*, max_nodes: int = MAX_NODES) -> Lab:
            return stack.enter_context(serve(tmp_path / unique("lab"), max_nodes=max_nodes))

        yield start


@pytest.fixture
def pool(lab: Lab) -> str:
    """Create a pool of one node with two slots, and wait until the node is idle."""
    return lab.pool(task_slots_per_node=2)


@pytest.fixture
def faults(lab: Lab) -> Iterator[FaultOrders]:
    """Yield what orders faults of the lab; remove all faults after the test."""
    orders = FaultOrders(lab)
    yield orders
    orders.clear()


@pytest.fixture
def stubborn(tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubborn]:
    """Yield a script that the service waits for, and does not kill, until it ends."""
    assert lab
    monkeypatch.setattr("local_azure.batch.process.GRACE_SECONDS", TIMEOUT_SECONDS)
    stubborn = Stubborn(tmp_path / "gate")
    yield stubborn
    stubborn.end()


@pytest.fixture
async def async_batch(lab: Lab) -> AsyncIterator[AsyncBatchClient]:
    async with lab.connect_async() as client:
        yield client


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blobs]:
    """Run an Azurite of its own, beside the service."""
    folder = tmp_path_factory.mktemp("azurite")
    with running_azurite(
        account=STORAGE_ACCOUNT,
        key=STORAGE_KEY,
        port=0,
        location=folder / "blobs",
        log=folder / "azurite.log",
    ) as azurite:
        credential = AzureNamedKeyCredential(STORAGE_ACCOUNT, STORAGE_KEY)
        url = f"{azurite.wait()}/{STORAGE_ACCOUNT}"
        with BlobServiceClient(url, credential=credential) as service:
            yield Blobs(service)
