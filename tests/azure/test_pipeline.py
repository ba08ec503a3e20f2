"""The tests of whole runs in tests/flows/test_convert.py, on a real account.

    ACCOUNTS=azure .venv/bin/pytest tests/azure/test_pipeline.py

COST: one node (Standard_D2ds_v5, Spot; dedicated by NODES=dedicated) for as long as the tests take,
65 minutes at most, and a second one for the one run that makes its own pool, 35 minutes at most. So
at most 1.67 of what your region charges for an hour of that size, and less than 1 GB of storage.
Bring the price: it differs by region and by day. Without ACCOUNTS=azure nothing here runs.

The accounts are those of the environment when this starts. Each test makes containers of its own
and deletes them: whoever runs it needs the role Storage Blob Data Contributor on the whole account.
"""

import asyncio
import inspect
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
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
from tasks.clients import batch_client, connection_string, has_storage_key
from tasks.parameters import Pool
from tasks.pool import make_pool
from tasks.settings import load_accounts

pytestmark = pytest.mark.skipif(
    os.environ.get("ACCOUNTS") != "azure", reason="costs money: ACCOUNTS=azure runs it"
)
LONGEST = timedelta(minutes=60)  # that the tests may take: the shared pool has no node afterwards
KIND = "dedicated_nodes" if os.environ.get("NODES") == "dedicated" else "spot_nodes"
ONE_NODE = Pool(**({"spot_nodes": 0, "dedicated_nodes": 0} | {KIND: 1}))
FLOWS = Path(__file__).parents[1] / "flows"
FIXTURES, SUITE = load_module(FLOWS / "conftest.py"), load_module(FLOWS / "test_convert.py")
OF_LOCAL_STACK = {"order", "storage_faults", "stack", "account_stack"}  # fixtures: faults, quotas
MAKE_POOLS = {
    "test_a_run_waits_while_other_pools_use_up_the_quota",  # the local stack's, of four nodes
    "test_a_shared_pool_is_used_and_left_alone",  # here all do that
}
OWN_POOL = {
    "test_a_run_leaves_nothing_behind_but_its_outputs",
    "test_a_dry_run_says_what_would_be_done_and_touches_nothing",
}
TESTS = {name: test for name, test in vars(SUITE).items() if name.startswith("test_")}
assert set(TESTS) >= MAKE_POOLS | OWN_POOL
kind_of_fixture = type(FIXTURES.convert)
globals().update(
    {name: each for name, each in vars(FIXTURES).items() if isinstance(each, kind_of_fixture)}
)
globals().update(
    {
        name: test
        for name, test in TESTS.items()
        if name not in MAKE_POOLS and not OF_LOCAL_STACK & set(inspect.signature(test).parameters)
    }
)


@pytest.fixture(scope="session")
def signed_in(real_settings: dict[str, str]) -> Iterator[dict[str, str]]:
    """The real account's settings, with all that a sign-in may need, in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in real_settings.items():
            patch.setenv(name, value)
        yield real_settings


@pytest.fixture
def account(signed_in: dict[str, str], prefect_server: str) -> dict[str, str]:
    assert prefect_server
    return signed_in


@pytest.fixture
def batch(account: dict[str, str]) -> Iterator[BatchClient]:
    assert account
    accounts = load_accounts()
    key = accounts.batch_key.get_secret_value()
    credential: Any = AzureNamedKeyCredential(accounts.batch_account, key) if key else None
    with BatchClient(accounts.batch_endpoint, credential or DefaultAzureCredential()) as client:
        yield client


@pytest.fixture
def blobs(account: dict[str, str]) -> Iterator[BlobServiceClient]:
    assert account
    accounts = load_accounts()
    credential = None if has_storage_key(accounts) else DefaultAzureCredential()
    with BlobServiceClient.from_connection_string(
        connection_string(accounts), credential=credential
    ) as client:
        yield client


@pytest.fixture
def containers(blobs: BlobServiceClient) -> Iterator[tuple[str, str]]:
    """As everywhere, and deleted at the end: what lies in a real account is billed."""
    name = uuid.uuid4().hex[:12]
    names = f"output-{name}", f"input-{name}"
    yield names
    for each in names:
        with suppress(ResourceNotFoundError):
            blobs.delete_container(each)


@pytest.fixture(scope="session")
def shared_pool(signed_in: dict[str, str]) -> Iterator[str]:
    """A pool of one node: a boot for each test would take minutes."""
    assert signed_in
    ticket = issue_ticket(LONGEST)
    try:
        asyncio.run(make_pool.fn(ticket, ONE_NODE, files=1))
        yield ticket.pool_id
    finally:
        asyncio.run(_delete_pool(ticket.pool_id))


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
    """As everywhere, on the shared pool where a test does not name another."""
    given = {} if request.node.originalname in OWN_POOL else {"pool": Pool(id=shared_pool)}

    run_flow = FIXTURES.convert.__wrapped__(account, containers)

    async def run(*sources: Path | str, **parameters: Any) -> Any:
        return await run_flow(*sources, **(given | parameters))

    return run
