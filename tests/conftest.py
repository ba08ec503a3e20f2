"""What tests of every folder use: folders of their own, a local stack, a Prefect server."""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient
from hypothesis import settings

from flows.cli.prefect_server import running_server
from stacks import LocalStack, local_stack
from storage_proxy import StorageProxy, running_proxy

pytest_plugins = ["media", "impostors"]
ROOT = pytest.StashKey[Path]()
REAL = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests off the user's data, accounts and Prefect, in this process and in children.

    The user's cache stays: Azurite is installed there once. A shell that starts this in the
    background has SIGINT ignored, which children would inherit: tests send it to them.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("patient", deadline=None)  # a busy machine fails no test
    settings.load_profile("patient")
    config.stash[ROOT] = Path(tempfile.mkdtemp(prefix="batch-convert-tests-"))
    config.stash[REAL] = {n: v for n, v in os.environ.items() if n.startswith("AZURE_")}
    for name in [name for name in os.environ if name.startswith(("AZURE_", "PREFECT_"))]:
        del os.environ[name]
    os.environ["XDG_DATA_HOME"] = str(config.stash[ROOT] / "data")
    os.environ["PREFECT_HOME"] = str(config.stash[ROOT] / "prefect")
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the tests' folders."""
    shutil.rmtree(config.stash[ROOT], ignore_errors=True)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """One local stack for all tests that need no stack of their own: four nodes at most."""
    with local_stack(tmp_path_factory.mktemp("stack"), "--nodes", "4") as stack:
        yield stack


@pytest.fixture(scope="session")
def real_settings(pytestconfig: pytest.Config) -> dict[str, str]:
    """The user's own settings, which only tests/azure may use, and only by ACCOUNTS=azure."""
    return pytestconfig.stash[REAL]


@pytest.fixture(scope="session")
def tls_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Another one, over TLS, where clients sign in by Entra ID."""
    with local_stack(tmp_path_factory.mktemp("tls-stack"), "--nodes", "4", "--tls") as stack:
        yield stack


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests against accounts with keys, and a sample of them where clients sign in too.

    ACCOUNTS=entra runs all of them there, but for those that are about keys; by ACCOUNTS=azure,
    tests/azure has one account, of whatever kind.
    """
    if "account" not in metafunc.fixturenames or os.environ.get("ACCOUNTS") == "azure":
        return
    mark = metafunc.definition.get_closest_marker("accounts")
    if os.environ.get("ACCOUNTS") == "entra":
        kinds = ["entra"] if mark is None or "entra" in mark.args else []
        metafunc.parametrize("account", kinds, indirect=True)
    elif mark:
        metafunc.parametrize("account", mark.args, indirect=True)


@pytest.fixture(scope="session")
def usual_stack(request: pytest.FixtureRequest) -> LocalStack:
    """The one that tests are on which are not marked."""
    entra = os.environ.get("ACCOUNTS") == "entra"
    stack = request.getfixturevalue("tls_stack" if entra else "stack")
    assert isinstance(stack, LocalStack)
    return stack


@pytest.fixture
def account_stack(request: pytest.FixtureRequest) -> LocalStack:
    """The stack that the test's accounts are on."""
    kind = (
        request.node.callspec.params.get("account") if hasattr(request.node, "callspec") else None
    )
    stack = request.getfixturevalue("tls_stack" if kind == "entra" else "stack")
    assert isinstance(stack, LocalStack)
    return stack


@pytest.fixture
def account(account_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stack's settings, which this process has in its environment."""
    for name, value in account_stack.settings.items():
        monkeypatch.setenv(name, value)
    return account_stack.settings


@pytest.fixture
def batch(account: dict[str, str], request: pytest.FixtureRequest) -> Iterator[BatchClient]:
    """A client of the account's Batch service, by its key."""
    secret = account.get("AZURE_BATCH_ACCESS_KEY")
    secret = secret or request.getfixturevalue("account_stack").batch_key
    key = AzureNamedKeyCredential(account["AZURE_BATCH_ACCOUNT"], secret)
    with BatchClient(account["AZURE_BATCH_ENDPOINT"], key) as client:
        yield client


@pytest.fixture
def free_quota(batch: BatchClient) -> None:
    """No pool of an earlier test has nodes any more."""
    going = [p.id for p in batch.list_pools() if p.state == "active"]
    for poller in [batch.begin_delete_pool(name, polling_interval=1) for name in going]:
        poller.wait()


@pytest.fixture
def blobs(account: dict[str, str], account_stack: LocalStack) -> Iterator[BlobServiceClient]:
    """A client of the stack's storage, by its key."""
    assert account
    with BlobServiceClient.from_connection_string(account_stack.storage_connection) as client:
        yield client


@pytest.fixture
def storage_faults(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[StorageProxy]:
    """A proxy before the stack's storage, by way of which this process now goes there."""
    name = "AZURE_STORAGE_CONNECTION_STRING"
    if name not in account:
        pytest.skip("the proxy speaks plain HTTP")
    with running_proxy(account[name]) as proxy:
        monkeypatch.setenv(name, proxy.connection_string)
        yield proxy


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 4 MiB; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() or not (mount and umount):
        pytest.skip("only root may make a disk")
    command = [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"a disk cannot be made here: {made.stderr}")
    yield folder
    subprocess.run([umount, folder], check=True)


@pytest.fixture
def containers() -> tuple[str, str]:
    """Names for the output and the input container that no other test uses."""
    name = uuid.uuid4().hex[:12]
    return f"output-{name}", f"input-{name}"


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's URL of one Prefect server, which flows in this process and in children use."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import PREFECT_API_URL, temporary_settings

    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch, running_server(folder) as server:
        url = server.wait()
        patch.setenv("PREFECT_API_URL", url)
        with temporary_settings({PREFECT_API_URL: url}):
            yield url
            APILogHandler().flush()  # while there is somebody to send to
            EventsWorker.drain_all()


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The SIGTERMs that come to this process, and would end it."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)
