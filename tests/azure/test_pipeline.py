"""The tests of whole runs in tests/flows/test_convert.py, on a real account.

    ACCOUNTS=azure .venv/bin/pytest tests/azure/test_pipeline.py

COST: one node (Standard_D2ds_v5, Spot; dedicated by NODES=dedicated) for as long as the tests take,
65 minutes at most, and Spot nodes for two tests that make pools of their own, 35 and 20 minutes at
most. So at most 2 of what your region charges for an hour of that size, and less than 1 GB of
storage. Bring the price: it differs by region and by day.

Without ACCOUNTS=azure one test runs, and the local stack stands for the account: so that this
cannot rot where nobody has one.

The accounts are those of the environment when this starts. Each test makes containers of its own
and deletes them: whoever runs it needs the role Storage Blob Data Contributor on the whole account.
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

# Without that, azure-identity asks the public cloud about authorities unknown to it: the local one.
SIGN_IN: Any = {"disable_instance_discovery": True}
IS_REAL = os.environ.get("ACCOUNTS") == "azure"
LONGEST = timedelta(minutes=60)  # that the tests may take: the shared pool has no node afterwards
KIND = "dedicated_nodes" if os.environ.get("NODES") == "dedicated" else "spot_nodes"
ONE_NODE = Pool(**({"spot_nodes": 0, "dedicated_nodes": 0} | {KIND: 1}))
FLOWS = Path(__file__).parents[1] / "flows"
FIXTURES, SUITE = load_module(FLOWS / "conftest.py"), load_module(FLOWS / "test_convert.py")
OF_LOCAL_STACK = {"order", "storage_faults", "stack", "account_stack"}  # fixtures: faults, quotas
NOT_HERE = (  # by how their names begin
    "test_a_run_waits_while_other_pools",  # use up the quota of the local stack, four nodes
    "test_a_shared_pool_is_used",  # as all do here
)
OF_TESTS = re.compile("(output|input|source|tools)-[0-9a-f]{8,12}")  # containers that they make
REHEARSED = "test_the_report_file_holds_every_source"
OWN_POOL = ("test_a_run_leaves_nothing_behind", "test_a_dry_run_says")
TESTS = {name: test for name, test in vars(SUITE).items() if name.startswith("test_")}
for beginning in (*NOT_HERE, *OWN_POOL, REHEARSED):
    assert any(name.startswith(beginning) for name in TESTS), beginning
kind_of_fixture = type(FIXTURES.convert)
globals().update(
    {name: each for name, each in vars(FIXTURES).items() if isinstance(each, kind_of_fixture)}
)


def is_chosen(name: str, test: Callable[..., object]) -> bool:
    if not IS_REAL:
        return name.startswith(REHEARSED)
    orders_faults = OF_LOCAL_STACK & set(inspect.signature(test).parameters)
    return not (orders_faults or name.startswith(NOT_HERE))


globals().update({name: test for name, test in TESTS.items() if is_chosen(name, test)})


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """The account's, with all that a sign-in may need."""
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
    """As everywhere; what is new at the end is deleted, since it is billed in a real account."""
    before = {container.name for container in blobs.list_containers()}
    name = uuid.uuid4().hex[:12]
    yield f"output-{name}", f"input-{name}"
    for container in blobs.list_containers():
        if container.name not in before and OF_TESTS.fullmatch(container.name):
            blobs.delete_container(container.name)


@pytest.fixture(scope="session")
def shared_pool(settings: dict[str, str]) -> Iterator[str]:
    """A pool of one node: a boot for each test would take minutes."""
    ticket = issue_ticket(LONGEST)
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
    """As everywhere, on the shared pool where a test does not name another."""
    given = {} if request.node.originalname.startswith(OWN_POOL) else {"pool": Pool(id=shared_pool)}

    run_flow = FIXTURES.convert.__wrapped__(account, containers)

    async def run(*sources: Path | str, **parameters: Any) -> Any:
        return await run_flow(*sources, **(given | parameters))

    return run
