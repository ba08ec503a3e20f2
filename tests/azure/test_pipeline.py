"""The tests of tests/flows/test_convert.py, run on a real account.

    ACCOUNTS=azure .venv/bin/pytest tests/azure/test_pipeline.py

COST: one node (Standard_D2ds_v5; Spot, or dedicated with NODES=dedicated) while the tests run, 65
minutes at most, and Spot nodes for two tests with their own pools, 35 and 20 minutes at most.
The most that you pay is the price of two hours of that size in your region, and less than 1 GB of
storage. Prices differ by region and day.

Without ACCOUNTS=azure, one test runs on the local stack, so that this module stays correct.

The accounts come from the environment. Each test creates its own containers and deletes them, so
the tests require the role Storage Blob Data Contributor on the whole storage account.
"""

import asyncio
import inspect
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient

from bench import issue_ticket, load_module
from tasks.azure.clients import batch_client, connection_string, has_storage_key
from tasks.azure.settings import load_accounts
from tasks.parameters import Pool
from tasks.pool import make_pool

# Otherwise azure-identity asks the public cloud about the local authority, which it does not know.
SIGN_IN: Any = {"disable_instance_discovery": True}
IS_REAL = os.environ.get("ACCOUNTS") == "azure"
LONGEST = timedelta(minutes=60)  # after this time the shared pool has no node
KIND = "dedicated_nodes" if os.environ.get("NODES") == "dedicated" else "spot_nodes"
ONE_NODE = Pool(**({"spot_nodes": 0, "dedicated_nodes": 0, "slots_per_node": 2} | {KIND: 1}))
FLOWS = Path(__file__).parents[1] / "flows"
FIXTURES, SUITE = load_module(FLOWS / "conftest.py"), load_module(FLOWS / "test_convert.py")
OF_LOCAL_STACK = {"order", "storage_faults", "stack", "account_stack"}  # fixtures
EXCLUDED = (  # prefixes of names
    "test_a_run_waits_while_other_pools",  # it fills the quota of the local stack
    "test_a_shared_pool_is_used",  # all tests here use a shared pool
)
TEST_CONTAINERS = re.compile("(output|input|source|tools)-[0-9a-f]{8,12}(-logs|-failures)?")
LOCAL_SAMPLE = "test_the_report_file_contains_every_source"
OWN_POOL = ("test_a_run_leaves_only_its_outputs", "test_a_dry_run_reports")
TESTS = {name: test for name, test in vars(SUITE).items() if name.startswith("test_")}
for prefix in (*EXCLUDED, *OWN_POOL, LOCAL_SAMPLE):
    assert any(name.startswith(prefix) for name in TESTS), prefix
kind_of_fixture = type(FIXTURES.convert)
globals().update(
    {name: each for name, each in vars(FIXTURES).items() if isinstance(each, kind_of_fixture)}
)


def is_chosen(name: str, test: Callable[..., object]) -> bool:
    if not IS_REAL:
        return name.startswith(LOCAL_SAMPLE)
    needs_local_stack = OF_LOCAL_STACK & set(inspect.signature(test).parameters)
    return not (needs_local_stack or name.startswith(EXCLUDED))


globals().update({name: test for name, test in TESTS.items() if is_chosen(name, test)})


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the account's settings, with everything that a sign-in may need."""
    if IS_REAL:
        return request.getfixturevalue("real_settings")
    return request.getfixturevalue("stack").settings


@pytest.fixture
def account(
    settings: dict[str, str], prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    assert prefect_server
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def batch(account: dict[str, str]) -> Iterator[BatchClient]:
    assert account
    accounts = load_accounts()
    key = accounts.batch_key.get_secret_value()
    credential: Any = AzureNamedKeyCredential(accounts.batch_account, key) if key else None
    with BatchClient(
        accounts.batch_endpoint, credential or DefaultAzureCredential(**SIGN_IN)
    ) as client:
        yield client


@pytest.fixture
def blobs(account: dict[str, str]) -> Iterator[BlobServiceClient]:
    assert account
    accounts = load_accounts()
    credential = None if has_storage_key(accounts) else DefaultAzureCredential(**SIGN_IN)
    with BlobServiceClient.from_connection_string(
        connection_string(accounts), credential=credential
    ) as client:
        yield client


@pytest.fixture
def containers(blobs: BlobServiceClient) -> Iterator[tuple[str, str]]:
    """Return unused names, and delete new containers at the end, because storage costs money."""
    before = {container.name for container in blobs.list_containers()}
    name = uuid.uuid4().hex[:12]
    yield f"output-{name}", f"input-{name}"
    for container in blobs.list_containers():
        if container.name not in before and TEST_CONTAINERS.fullmatch(container.name):
            blobs.delete_container(container.name)


@pytest.fixture(scope="session")
def shared_pool(settings: dict[str, str]) -> Iterator[str]:
    """Create a pool of one node for all tests, because a node takes minutes to boot."""
    ticket = issue_ticket("tests", LONGEST)
    try:
        with environment(settings):
            asyncio.run(make_pool.fn(ticket, ONE_NODE, files=1))
        yield ticket.pool_id
    finally:
        with environment(settings):
            asyncio.run(_delete_pool(ticket.pool_id))


@contextmanager
def environment(settings: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield


async def _delete_pool(name: str) -> None:
    async with batch_client() as batch:
        with suppress(ResourceNotFoundError):
            await batch.begin_delete_pool(name)


@pytest.fixture
def convert(
    account: dict[str, str],
    containers: tuple[str, str],
    shared_pool: str,
    request: pytest.FixtureRequest,
) -> Callable[..., Any]:
    """Return the function of tests/flows, with the shared pool unless a test has its own."""
    given = {} if request.node.originalname.startswith(OWN_POOL) else {"pool": Pool(id=shared_pool)}

    run_flow = FIXTURES.convert.__wrapped__(account, containers)

    async def run(*sources: Path | str, **parameters: Any) -> Any:
        return await run_flow(*sources, **(given | parameters))

    return run
