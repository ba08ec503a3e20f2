"""The checks of the accounts, each with the response of a service that makes it fail."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient
from records import NOW, a_request, a_ticket

from storage_proxy import Refusal, StorageProxy
from tasks.errors import PreflightError
from tasks.models import Check
from tasks.parameters import Limits, Node, Pool, Run
from tasks.preflight import check_clock, preflight, raise_failed, skew

Order = Callable[..., None]
Preflight = Callable[..., Any]
CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def checks_of(account: dict[str, str], containers: tuple[str, str]) -> Preflight:
    """Return a function that makes the checks in a dry run and returns them by name."""
    assert account

    async def check(**parameters: Any) -> dict[str, Check]:
        given = {"limits": Limits(role_wait_minutes=0)} | parameters
        request = a_request(containers, run=Run(dry_run=True), **given)
        checks = await preflight.fn(request, a_ticket())
        return {found.what: found for found in checks}

    return check


def failed(checks: dict[str, Check]) -> set[str]:
    return {what for what, check in checks.items() if check.state == "failed"}


async def test_sufficient_accounts_pass_and_nothing_is_created(
    checks_of: Preflight,
    batch: BatchClient,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    storage_faults: StorageProxy,
) -> None:
    before = {pool.id for pool in batch.list_pools()}, {job.id for job in batch.list_jobs()}
    checks = await checks_of()
    states = {what: check.state for what, check in checks.items()}
    assert states.pop("quota") == "unchecked"
    assert states.pop("nodes") == "passed"
    assert set(states) == {
        "Batch account",
        "pools and jobs",
        "storage account",
        "reading, writing",
        "deleting",
        "clock",
        "deadline",
    }
    assert set(states.values()) == {"passed"}
    assert len(storage_faults.requests) == 7
    assert before == ({p.id for p in batch.list_pools()}, {job.id for job in batch.list_jobs()})
    assert not any(blobs.get_container_client(name).exists() for name in containers)


@pytest.mark.accounts("key", "entra")
async def test_existing_containers_pass_and_are_not_changed(
    checks_of: Preflight, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    for name in containers:
        blobs.create_container(name).upload_blob("foreign", b"content")
    assert failed(await checks_of()) == set()
    for name in containers:
        assert list(blobs.get_container_client(name).list_blob_names()) == ["foreign"]


@pytest.mark.usefixtures("quick_retries")
async def test_a_batch_account_that_does_not_respond_fails(
    checks_of: Preflight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_BATCH_ENDPOINT", CLOSED)
    checks = await checks_of()
    assert failed(checks) == {"Batch account"}
    assert checks["Batch account"].detail.startswith("Azure cannot be reached")
    assert checks["Batch account"].remedy == "Check the endpoint and the network."
    assert checks["pools and jobs"].detail == "Batch does not respond."
    assert checks["nodes"].state == "unchecked"


async def test_a_wrong_key_of_batch_fails(
    checks_of: Preflight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", "d3Jvbmc=")
    checks = await checks_of()
    assert checks["Batch account"].detail == (
        "Azure Batch refused a request: 403 AuthenticationFailed."
    )
    assert "Check the key" in checks["Batch account"].remedy


@pytest.mark.accounts("key", "entra")
@pytest.mark.parametrize("operation", ["PATCH /pools/*", "PATCH /jobs/*"])
async def test_a_role_that_can_only_read_batch_fails(
    checks_of: Preflight, order: Order, account: dict[str, str], operation: str
) -> None:
    order("answer", status=403, operation=operation)
    checks = await checks_of()
    assert failed(checks) == {"pools and jobs"}
    assert checks["pools and jobs"].detail == (
        "Azure Batch refused a request: 403 AuthorizationFailure."
    )
    has_key = "AZURE_BATCH_ACCESS_KEY" in account
    expected = "Check the key" if has_key else "the role 'Azure Batch Data Contributor'"
    assert expected in checks["pools and jobs"].remedy


async def test_an_image_family_that_batch_does_not_offer_fails(checks_of: Preflight) -> None:
    checks = await checks_of(node=Node(image="fedora", ffmpeg="image"))
    assert failed(checks) == {"nodes"}
    assert "no verified Fedora image" in checks["nodes"].detail
    assert "almalinux, debian, ubuntu" in checks["nodes"].remedy


async def test_an_image_that_is_not_tested_passes_with_a_remark(checks_of: Preflight) -> None:
    checks = await checks_of(node=Node(image="ubuntu-26.04"))
    assert checks["nodes"].state == "passed"
    assert checks["nodes"].detail.endswith(
        "26.04. This project has not been tested with this release."
    )
    assert (await checks_of())["nodes"].detail.endswith("batch.node.ubuntu 24.04.")


async def test_a_shared_pool_that_does_not_exist_fails(checks_of: Preflight) -> None:
    checks = await checks_of(pool=Pool(id="nosuch"))
    assert failed(checks) == {"nodes"}
    assert checks["nodes"].detail == "The pool 'nosuch' does not exist."


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.accounts("key")  # the connection string is changed
async def test_a_storage_account_that_does_not_respond_fails(
    checks_of: Preflight, account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = account["AZURE_STORAGE_CONNECTION_STRING"]
    place = connection.partition("BlobEndpoint=")[2].partition(";")[0].rpartition("/")[0]
    name = "AZURE_STORAGE_CONNECTION_STRING"
    monkeypatch.setenv(name, connection.replace(place, CLOSED))
    checks = await checks_of()
    assert failed(checks) == {"storage account"}
    assert checks["storage account"].detail.startswith("Azure cannot be reached")
    assert checks["reading, writing"].detail == "Storage does not respond."


async def test_a_firewall_of_storage_fails(
    checks_of: Preflight, storage_faults: StorageProxy
) -> None:
    storage_faults.order(Refusal(status=403))
    checks = await checks_of()
    assert checks["storage account"].detail == (
        "Azure Storage refused a request: 403 AuthorizationFailure."
    )
    assert "its firewall" in checks["storage account"].remedy


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
async def test_sas_tokens_without_permission_to_read_or_write_fail(
    checks_of: Preflight, storage_faults: StorageProxy, method: str
) -> None:
    mismatch = "AuthorizationPermissionMismatch"
    storage_faults.order(Refusal(status=403, method=method, code=mismatch))
    checks = await checks_of()
    assert failed(checks) == {"reading, writing"}
    assert checks["reading, writing"].detail == f"Azure Storage refused a request: 403 {mismatch}."
    assert "Storage Blob Data Contributor" in checks["reading, writing"].remedy


async def test_tokens_to_write_are_checked_although_nodes_read_with_an_identity(
    checks_of: Preflight, storage_faults: StorageProxy
) -> None:
    storage_faults.order(Refusal(status=403, method="PUT", blob="input-*-logs/*"))
    identity = (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity"
        "/userAssignedIdentities/nodes"
    )
    checks = await checks_of(pool=Pool(id="nosuch", identity=identity))
    assert failed(checks) == {"nodes", "reading, writing"}


async def test_a_missing_permission_to_delete_fails(
    checks_of: Preflight, storage_faults: StorageProxy
) -> None:
    mismatch = "AuthorizationPermissionMismatch"
    storage_faults.order(Refusal(status=403, method="DELETE", code=mismatch))
    checks = await checks_of()
    assert failed(checks) == {"deleting"}
    assert "Storage Blob Data Contributor" in checks["deleting"].remedy


async def test_a_storage_account_that_accepts_no_keys_fails(
    checks_of: Preflight, storage_faults: StorageProxy
) -> None:
    storage_faults.order(Refusal(status=403, code="KeyBasedAuthenticationNotPermitted"))
    assert "sign in" in (await checks_of())["storage account"].remedy


async def test_an_ffmpeg_that_is_not_in_storage_fails(checks_of: Preflight) -> None:
    checks = await checks_of(node=Node(ffmpeg="az://tools/ffmpeg"))
    assert failed(checks) == {"ffmpeg"}
    assert checks["ffmpeg"].detail == "The blob az://tools/ffmpeg does not exist."
    assert checks["ffmpeg"].remedy == "Upload a static build of ffmpeg to it."


@pytest.mark.accounts("key")  # tokens tolerate other skews than signatures
@pytest.mark.parametrize(
    ("seconds", "detail"),
    [
        (1200, "This machine's clock is 20 minutes behind Azure's."),
        (-480, "This machine's clock is 8 minutes ahead of Azure's."),
    ],
)
async def test_a_wrong_clock_fails(
    checks_of: Preflight, order: Order, seconds: int, detail: str
) -> None:
    order("skew", seconds=seconds)
    checks = await checks_of()
    assert checks["clock"].detail == detail
    assert checks["clock"].remedy == "Correct the clock, for example with NTP."
    assert checks["Batch account"].state == ("failed" if seconds > 900 else "passed")


def test_a_clock_is_compared_with_the_middle_of_a_request() -> None:
    date = "Sun, 22 Nov 2026 12:10:00 GMT"
    found = skew(date, sent_at=NOW, now=NOW + timedelta(minutes=2))
    assert found == timedelta(minutes=9)
    assert check_clock([timedelta(minutes=5), timedelta(seconds=-3)]).state == "passed"
    assert check_clock([]).state == "unchecked"


async def test_a_deadline_beyond_the_lifetime_of_sas_tokens_fails(checks_of: Preflight) -> None:
    week = 7 * 24 * 60
    checks = await checks_of(
        limits=Limits(deadline_minutes=week - 120), pool=Pool(keep_warm_minutes=1440)
    )
    assert failed(checks) == {"deadline"}
    assert "for more than seven days" in checks["deadline"].detail
    assert "--limits.deadline-minutes" in checks["deadline"].remedy


@pytest.mark.accounts("entra")
async def test_a_quota_smaller_than_one_node_fails(checks_of: Preflight, order: Order) -> None:
    order("quota", nodes="spot", cores=1)
    checks = await checks_of()
    assert failed(checks) == {"quota"}
    assert checks["quota"].detail == (
        "The account's quota is 1 Spot cores; one Standard_D2ds_v5 node uses 2."
    )
    assert checks["quota"].remedy == "Request a higher quota in the Azure portal (Quotas)."


@pytest.mark.usefixtures("quick_retries")
async def test_a_busy_service_does_not_fail(checks_of: Preflight, order: Order) -> None:
    order("answer", status=503, operation="PATCH /pools/*")
    checks = await checks_of()
    assert failed(checks) == set()
    assert checks["pools and jobs"].detail.endswith("503 ServerBusy. Azure is busy.")


@pytest.mark.usefixtures("quick_retries")
async def test_a_throttled_request_is_retried(checks_of: Preflight, order: Order) -> None:
    order("answer", status=429, operation="PATCH /jobs/*", times=2)
    assert (await checks_of())["pools and jobs"].state == "passed"


async def test_a_run_is_refused_with_a_line_for_each_failed_check(
    account: dict[str, str], containers: tuple[str, str], storage_faults: StorageProxy
) -> None:
    assert account
    storage_faults.order(Refusal(status=403, method="DELETE"))
    request = a_request(containers, node=Node(image="fedora", ffmpeg="az://tools/ffmpeg"))
    with pytest.raises(PreflightError) as caught:
        await preflight.fn(request, a_ticket())
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 of 10 checks failed:"
    assert [line.split()[0] for line in lines[1:4]] == ["nodes", "ffmpeg", "deleting"]
    assert lines[-1] == "Nothing was created, so nothing costs money."


def test_unchecked_rows_do_not_refuse_a_run() -> None:
    raise_failed([Check("quota", "unchecked", "This check requires AZURE_SUBSCRIPTION_ID.")])
