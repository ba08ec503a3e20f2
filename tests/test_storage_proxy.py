"""The storage proxy in front of Azurite, as a client of the storage SDK sees it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    LinearRetry,
    generate_blob_sas,
)

from storage_proxy import Bandwidth, Delay, Drop, Hold, Refusal, StorageProxy

CONTENT = bytes(range(256)) * 8192
BROKEN = (ServiceRequestError, ServiceResponseError)


@pytest.fixture
def container(
    storage_faults: StorageProxy, containers: tuple[str, str]
) -> Iterator[ContainerClient]:
    """Create a container, for a client without retries that goes through the proxy."""
    with BlobServiceClient.from_connection_string(
        storage_faults.connection_string, retry_total=0
    ) as client:
        yield client.create_container(containers[0])


def names(blobs: BlobServiceClient, container: ContainerClient) -> list[str]:
    """Return the container's blobs, listed without the proxy."""
    return list(blobs.get_container_client(container.container_name).list_blob_names())


def test_signed_requests_pass_for_any_name_and_size(container: ContainerClient) -> None:
    for name in ("plain", "a b/ü%?#&+=.mp3", "x/'y'(z)"):
        container.upload_blob(name, CONTENT, metadata={"key": "K"}, overwrite=True)
        blob = container.get_blob_client(name)
        assert blob.download_blob().readall() == CONTENT
        assert blob.download_blob(offset=1000, length=500).readall() == CONTENT[1000:1500]
        assert blob.get_blob_properties().metadata == {"key": "K"}
    assert len(list(container.list_blobs())) == 3


def test_blocks_leases_and_deletions_pass(container: ContainerClient) -> None:
    blob = container.get_blob_client("blocks")
    blob.stage_block("YQ==", CONTENT)
    blob.commit_block_list(["YQ=="])
    lease = blob.acquire_lease(15)
    with pytest.raises(HttpResponseError):
        blob.delete_blob()
    lease.renew()
    lease.release()
    blob.delete_blob()
    assert not blob.exists()


def test_an_outage_of_the_run_lasts_until_it_is_withdrawn_and_nodes_do_not_notice_it(
    storage_faults: StorageProxy, container: ContainerClient
) -> None:
    blob = container.get_blob_client("a")
    blob.upload_blob(b"a")
    token = generate_blob_sas(
        str(container.account_name),
        container.container_name,
        "a",
        account_key=container.credential.account_key,
        permission="r",
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    outage = Drop(when="before", sender="run")
    storage_faults.order(outage)
    for _ in range(3):
        with pytest.raises(BROKEN):
            blob.download_blob()
    assert BlobClient.from_blob_url(f"{blob.url}?{token}").download_blob().readall() == b"a"
    storage_faults.withdraw(outage)
    assert blob.download_blob().readall() == b"a"


def test_a_request_is_held_until_the_hold_is_withdrawn(
    storage_faults: StorageProxy, container: ContainerClient, blobs: BlobServiceClient
) -> None:
    hold = Hold(method="PUT", blob="*/held")
    storage_faults.order(hold)
    with ThreadPoolExecutor() as threads:
        upload = threads.submit(container.upload_blob, "held", b"a")
        while not any(request.blob.endswith("/held") for request in storage_faults.requests):
            assert not upload.done()
        container.upload_blob("other", b"a")
        assert names(blobs, container) == ["other"]
        storage_faults.withdraw(hold)
        upload.result()
    assert names(blobs, container) == ["held", "other"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refusal_has_a_retry_after_and_ends_after_its_times(
    storage_faults: StorageProxy, container: ContainerClient, status: int
) -> None:
    storage_faults.order(
        Refusal(status=status, method="PUT", blob="*.mp3", times=1, retry_after_seconds=7)
    )
    container.upload_blob("a.mp4", b"a")
    with pytest.raises(HttpResponseError) as caught:
        container.upload_blob("a.mp3", CONTENT)
    assert caught.value.status_code == status
    assert caught.value.response
    assert caught.value.response.headers["Retry-After"] == "7"
    container.upload_blob("a.mp3", CONTENT)


def test_a_client_with_retries_succeeds_after_two_refusals(
    storage_faults: StorageProxy, container: ContainerClient
) -> None:
    storage_faults.order(Refusal(status=503, times=2, retry_after_seconds=0))
    with BlobServiceClient.from_connection_string(
        storage_faults.connection_string,
        retry_policy=LinearRetry(backoff=0, random_jitter_range=0),
    ) as client:
        client.get_blob_client(container.container_name, "a").upload_blob(b"a")


def test_the_same_seed_gives_the_same_faults(
    storage_faults: StorageProxy, container: ContainerClient
) -> None:
    storage_faults.order(Refusal(status=500, chance=0.5))
    seen = []
    for seed in (1, 1, 2):
        storage_faults.seed(seed)
        seen.append([refused(container) for _ in range(20)])
    assert seen[0] == seen[1] != seen[2]
    assert set(seen[0]) == {True, False}


def refused(container: ContainerClient) -> bool:
    try:
        container.get_container_properties()
    except HttpResponseError:
        return True
    return False


@pytest.mark.parametrize(("when", "left"), [("before", []), ("after", ["a"])])
def test_a_connection_drops_before_or_after_storage_has_made_the_change(
    storage_faults: StorageProxy,
    container: ContainerClient,
    blobs: BlobServiceClient,
    when: str,
    left: list[str],
) -> None:
    storage_faults.order(Drop(when=when, method="PUT", times=1))
    with pytest.raises(BROKEN):
        container.upload_blob("a", b"a")
    assert names(blobs, container) == left


def test_a_download_breaks_off_in_the_middle(
    storage_faults: StorageProxy, container: ContainerClient
) -> None:
    container.upload_blob("a", CONTENT)
    storage_faults.order(Drop(when="within", method="GET"))
    with pytest.raises((HttpResponseError, *BROKEN)):
        container.download_blob("a").readall()


def test_a_fault_can_be_limited_to_one_operation(
    storage_faults: StorageProxy, container: ContainerClient
) -> None:
    container.upload_blob("lock", b"")
    lease = container.get_blob_client("lock").acquire_lease(15)
    storage_faults.order(Refusal(status=503, comp="lease"))
    assert container.get_blob_client("lock").exists()
    with pytest.raises(HttpResponseError):
        lease.renew()
    storage_faults.clear()
    lease.renew()


def test_a_delay_makes_a_request_slow(
    storage_faults: StorageProxy, container: ContainerClient
) -> None:
    storage_faults.order(Delay(seconds=0.3, times=1))
    started = time.monotonic()
    container.upload_blob("a", b"a")
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_bandwidth_limit_applies_in_both_directions(
    storage_faults: StorageProxy, container: ContainerClient, direction: str
) -> None:
    container.upload_blob("there", CONTENT)
    storage_faults.order(Bandwidth(bytes_per_second=4 * len(CONTENT)))
    started = time.monotonic()
    if direction == "up":
        container.upload_blob("new", CONTENT)
    else:
        assert container.download_blob("there").readall() == CONTENT
    assert time.monotonic() - started >= 0.24
