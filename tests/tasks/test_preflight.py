"""Each check of the accounts: how it fails where the real services give it the cause."""

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
def look(account: dict[str, str], containers: tuple[str, str]) -> Preflight:
    """What the checks say in a dry run, by what they are of."""
    assert account

    async def check(**parameters: Any) -> dict[str, Check]:
        request = a_request(containers, run=Run(dry_run=True), **parameters)
        checks = await preflight.fn(request, a_ticket())
        return {found.what: found for found in checks}

    return check


def wrong(checks: dict[str, Check]) -> set[str]:
    return {what for what, check in checks.items() if check.state == "failed"}


async def test_accounts_that_will_do_pass_and_nothing_is_made(
    look: Preflight,
    batch: BatchClient,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    storage_faults: StorageProxy,
) -> None:
    before = {pool.id for pool in batch.list_pools()}, {job.id for job in batch.list_jobs()}
    checks = await look()
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
    assert len(storage_faults.requests) == 5
    assert before == ({p.id for p in batch.list_pools()}, {job.id for job in batch.list_jobs()})
    assert not any(blobs.get_container_client(name).exists() for name in containers)


@pytest.mark.accounts("key", "entra")
async def test_they_pass_too_where_the_containers_are_there_and_are_left_as_they_are(
    look: Preflight, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    for name in containers:
        blobs.create_container(name).upload_blob("somebody's", b"own")
    assert wrong(await look()) == set()
    for name in containers:
        assert list(blobs.get_container_client(name).list_blob_names()) == ["somebody's"]


async def test_a_batch_account_that_nobody_answers_at(
    look: Preflight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_BATCH_ENDPOINT", CLOSED)
    checks = await look()
    assert wrong(checks) == {"Batch account"}
    assert checks["Batch account"].detail.startswith("Azure cannot be reached")
    assert checks["Batch account"].remedy == "Check the endpoint and the network."
    assert checks["pools and jobs"].detail == "Batch does not answer."
    assert checks["nodes"].state == "unchecked"


async def test_a_wrong_key_of_batch(look: Preflight, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", "d3Jvbmc=")
    checks = await look()
    assert checks["Batch account"].detail == (
        "Azure Batch refused a request: 403 AuthenticationFailed."
    )
    assert "Check the key" in checks["Batch account"].remedy


@pytest.mark.accounts("key", "entra")
@pytest.mark.parametrize("operation", ["PATCH /pools/*", "PATCH /jobs/*"])
async def test_a_role_that_only_reads_batch(
    look: Preflight, order: Order, account: dict[str, str], operation: str
) -> None:
    order("answer", status=403, operation=operation)
    checks = await look()
    assert wrong(checks) == {"pools and jobs"}
    assert checks["pools and jobs"].detail == (
        "Azure Batch refused a request: 403 AuthorizationFailure."
    )
    has_key = "AZURE_BATCH_ACCESS_KEY" in account
    expected = "Check the key" if has_key else "the role 'Azure Batch Data Contributor'"
    assert expected in checks["pools and jobs"].remedy


async def test_a_family_of_images_that_batch_does_not_offer(look: Preflight) -> None:
    checks = await look(node=Node(image="fedora", ffmpeg="image"))
    assert wrong(checks) == {"nodes"}
    assert "no verified Fedora image" in checks["nodes"].detail
    assert "almalinux, debian, ubuntu" in checks["nodes"].remedy


async def test_a_shared_pool_that_is_not_there(look: Preflight) -> None:
    checks = await look(pool=Pool(id="nosuch"))
    assert wrong(checks) == {"nodes"}
    assert checks["nodes"].detail == "There is no pool 'nosuch'."


@pytest.mark.accounts("key")  # the connection string is changed, which has it
async def test_a_storage_account_that_nobody_answers_at(
    look: Preflight, account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = account["AZURE_STORAGE_CONNECTION_STRING"]
    place = connection.partition("BlobEndpoint=")[2].partition(";")[0].rpartition("/")[0]
    name = "AZURE_STORAGE_CONNECTION_STRING"
    monkeypatch.setenv(name, connection.replace(place, CLOSED))
    checks = await look()
    assert wrong(checks) == {"storage account"}
    assert checks["storage account"].detail.startswith("Azure cannot be reached")
    assert checks["reading, writing"].detail == "Storage does not answer."


async def test_a_firewall_before_storage(look: Preflight, storage_faults: StorageProxy) -> None:
    storage_faults.order(Refusal(status=403))
    checks = await look()
    assert checks["storage account"].detail == (
        "Azure Storage refused a request: 403 AuthorizationFailure."
    )
    assert "its firewall" in checks["storage account"].remedy


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
async def test_signatures_of_somebody_who_may_not_write_or_read(
    look: Preflight, storage_faults: StorageProxy, method: str
) -> None:
    mismatch = "AuthorizationPermissionMismatch"
    storage_faults.order(Refusal(status=403, method=method, code=mismatch))
    checks = await look()
    assert wrong(checks) == {"reading, writing"}
    assert checks["reading, writing"].detail == f"Azure Storage refused a request: 403 {mismatch}."
    assert "Storage Blob Data Contributor" in checks["reading, writing"].remedy


async def test_somebody_who_may_not_delete(look: Preflight, storage_faults: StorageProxy) -> None:
    mismatch = "AuthorizationPermissionMismatch"
    storage_faults.order(Refusal(status=403, method="DELETE", code=mismatch))
    checks = await look()
    assert wrong(checks) == {"deleting"}
    assert "Storage Blob Data Contributor" in checks["deleting"].remedy


async def test_an_account_that_takes_no_keys(look: Preflight, storage_faults: StorageProxy) -> None:
    storage_faults.order(Refusal(status=403, code="KeyBasedAuthenticationNotPermitted"))
    assert "leave the key out and sign in" in (await look())["storage account"].remedy


async def test_an_ffmpeg_that_is_not_in_storage(look: Preflight) -> None:
    checks = await look(node=Node(ffmpeg="az://tools/ffmpeg"))
    assert wrong(checks) == {"ffmpeg"}
    assert checks["ffmpeg"].detail == "There is no az://tools/ffmpeg."
    assert checks["ffmpeg"].remedy == "Upload a static build of ffmpeg there."


@pytest.mark.accounts("key")  # tokens are forgiven other skews than signatures
@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (1200, "This machine's clock is 20 minutes behind Azure's."),
        (-480, "This machine's clock is 8 minutes ahead of Azure's."),
    ],
)
async def test_a_clock_that_is_wrong(
    look: Preflight, order: Order, seconds: int, told: str
) -> None:
    order("skew", seconds=seconds)
    checks = await look()
    assert checks["clock"].detail == told
    assert checks["clock"].remedy == "Set it right, by NTP for instance."
    assert checks["Batch account"].state == ("failed" if seconds > 900 else "passed")


def test_a_clock_is_compared_with_the_middle_of_a_request() -> None:
    date = "Sun, 22 Nov 2026 12:10:00 GMT"
    found = skew(date, asked_at=NOW, now=NOW + timedelta(minutes=2))
    assert found == timedelta(minutes=9)
    assert check_clock([timedelta(minutes=5), timedelta(seconds=-3)]).state == "passed"
    assert check_clock([]).state == "unchecked"


async def test_a_deadline_beyond_what_signatures_may_last(look: Preflight) -> None:
    week = 7 * 24 * 60
    checks = await look(
        limits=Limits(deadline_minutes=week - 120), pool=Pool(keep_warm_minutes=1440)
    )
    assert wrong(checks) == {"deadline"}
    assert "for more than seven days" in checks["deadline"].detail
    assert "--limits.deadline-minutes" in checks["deadline"].remedy


@pytest.mark.accounts("entra")
async def test_an_account_without_the_cores_of_one_node(look: Preflight, order: Order) -> None:
    order("quota", nodes="spot", cores=1)
    checks = await look()
    assert wrong(checks) == {"quota"}
    assert checks["quota"].detail == "The account may have 1 Spot cores; a Standard_D2ds_v5 has 2."
    assert checks["quota"].remedy == "Ask for more in the Azure portal (Quotas)."


async def test_what_is_busy_is_not_wrong(look: Preflight, order: Order) -> None:
    order("answer", status=503, operation="PATCH /pools/*")
    checks = await look()
    assert wrong(checks) == set()
    assert checks["pools and jobs"].detail.endswith("503 ServerBusy. Azure is busy.")


async def test_a_throttled_request_is_sent_again(look: Preflight, order: Order) -> None:
    order("answer", status=429, operation="PATCH /jobs/*", times=2)
    assert (await look())["pools and jobs"].state == "passed"


async def test_a_run_is_refused_with_a_line_for_all_that_is_wrong(
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
    assert lines[-1] == "Nothing was made, and nothing costs anything."


def test_what_could_not_be_checked_refuses_nobody() -> None:
    raise_failed([Check("quota", "unchecked", "It needs AZURE_SUBSCRIPTION_ID and a sign-in.")])
