import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobLeaseClient, BlobServiceClient, ContainerClient
from reactions import reacting_to
from records import a_request, a_ticket

from storage_proxy import Drop, RecordedRequest, StorageProxy
from tasks.errors import OutputInUseError, UsageError
from tasks.lock import HeldLock, has_predecessor, hold_lock
from tasks.models import Ticket
from tasks.naming import LOCKS, OWN, input_blob, lock_blob, lock_id, prefix_tag, record_blob

Hold = Callable[..., Any]
Issue = Callable[..., Ticket]
OUTAGE = Drop(when="before")
EARLY_SECONDS = 0.5
HEAD_START_SECONDS = 0.2
PATIENCE_SECONDS = 60


@pytest.fixture
def issue(containers: tuple[str, str]) -> Issue:
    """Return a function that issues a ticket of a new run into a folder of the output container."""

    def issue_for(prefix: str = "") -> Ticket:
        return a_ticket(lock_id=lock_id(containers[0], prefix), output_container=containers[0])

    return issue_for


@pytest.fixture
def ticket(issue: Issue) -> Ticket:
    return issue()


@pytest.fixture
def outputs(blobs: BlobServiceClient, containers: tuple[str, str]) -> ContainerClient:
    return blobs.create_container(containers[0])


@pytest.fixture
def inputs(blobs: BlobServiceClient, containers: tuple[str, str]) -> ContainerClient:
    return blobs.create_container(containers[1])


@pytest.fixture
def lock(outputs: ContainerClient, ticket: Ticket) -> BlobClient:
    return outputs.get_blob_client(lock_blob(ticket.lock_id))


@pytest.fixture
def record(inputs: ContainerClient, ticket: Ticket) -> BlobClient:
    """Return the blob that is the lock of earlier versions."""
    return inputs.get_blob_client(record_blob(ticket.lock_id))


@pytest.fixture
def hold(outputs: ContainerClient, inputs: ContainerClient, issue: Issue) -> Hold:
    """Return a function that holds the lock, by default for a new run."""

    def hold_for(
        given: Ticket | None = None, *, prefix: str = "", cleanup: str = "", wait_seconds: float = 0
    ) -> Any:
        request = a_request(
            (outputs.container_name, cleanup or inputs.container_name), output={"prefix": prefix}
        )
        return hold_lock(given or issue(prefix), request, wait_seconds=wait_seconds)

    return hold_for


@pytest.fixture
def upload(inputs: ContainerClient, ticket: Ticket) -> Callable[[], object]:
    """Return a function that uploads a source as the run does."""
    name = input_blob(ticket.lock_id, "c0")
    return lambda: inputs.upload_blob(name, b"media", metadata=OWN)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.renewal.RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr("tasks.renewal.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("tasks.claim.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("tasks.claim.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("tasks.claim.HEAD_START_SECONDS", HEAD_START_SECONDS)


async def hold_forever(holding: Any, then: Callable[[], object]) -> None:
    async with holding:
        then()
        await asyncio.Event().wait()


def blobs_of(*containers: ContainerClient) -> list[str]:
    return [name for container in containers for name in container.list_blob_names()]


async def test_a_lock_names_its_holder_and_cannot_be_written_by_others(
    hold: Hold, ticket: Ticket, lock: BlobClient, record: BlobClient
) -> None:
    async with hold(ticket) as held:
        assert (held.predecessors, held.inputs) == ((), frozenset())
        for blob in (lock, record):
            metadata = blob.get_blob_properties().metadata
            assert (metadata["run"], metadata["job"]) == (ticket.run_id, ticket.job_id)
            with pytest.raises(HttpResponseError, match="lease"):
                blob.upload_blob(b"", overwrite=True)


async def test_a_second_run_gives_up_and_names_the_first(hold: Hold, ticket: Ticket) -> None:
    async with hold(ticket):
        with pytest.raises(OutputInUseError, match=rf"this output \({ticket.job_id}, started 20"):
            async with hold():
                pytest.fail("two runs hold the lock")


async def test_a_run_with_another_cleanup_container_is_excluded_too(
    hold: Hold, ticket: Ticket, blobs: BlobServiceClient, outputs: ContainerClient
) -> None:
    other = blobs.create_container(f"input-{uuid.uuid4().hex[:12]}")
    async with hold(ticket):
        with pytest.raises(OutputInUseError, match=ticket.job_id):
            async with hold(cleanup=other.container_name):
                pytest.fail("two runs hold the lock")
    assert blobs_of(outputs, other) == []


async def test_a_second_run_that_waits_gets_the_lock_after_the_first(hold: Hold) -> None:
    order: list[str] = []

    async def second() -> None:
        async with hold(wait_seconds=20):
            order.append("second")

    async with hold():
        waiting = asyncio.create_task(second())
        await asyncio.wait([waiting], timeout=0.3)
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_only_one_of_many_runs_holds_the_lock(hold: Hold) -> None:
    holders = most = 0

    async def one() -> None:
        nonlocal holders, most
        async with hold(wait_seconds=60):
            holders += 1
            most = max(most, holders)
            await asyncio.sleep(0)
            holders -= 1

    await asyncio.gather(*(one() for _ in range(5)))
    assert most == 1


@pytest.mark.parametrize(
    ("first", "second"), [("", "talks"), ("talks", ""), ("a/b", "a/b/c/"), ("a/b/c", "a")]
)
async def test_a_run_into_a_folder_inside_or_around_that_of_another_run_is_excluded(
    hold: Hold, outputs: ContainerClient, first: str, second: str
) -> None:
    async with hold(prefix=first):
        with pytest.raises(OutputInUseError, match=r"this output \(convert-1-\w+, started 20"):
            async with hold(prefix=second):
                pytest.fail("two runs hold overlapping locks")
        assert len(blobs_of(outputs)) == 1


async def test_the_message_about_another_folder_names_it(hold: Hold) -> None:
    async with hold(prefix="it's é"):
        with pytest.raises(OutputInUseError, match=r"started \S+, in the folder \"it's é\"\)"):
            async with hold():
                pytest.fail("two runs hold overlapping locks")


async def test_folders_beside_each_other_can_be_used_at_the_same_time(hold: Hold) -> None:
    async with hold(prefix="talks"), hold(prefix="talks2"), hold(prefix="other/talks"):
        pass


async def test_of_many_runs_that_start_together_no_two_overlap_and_all_get_their_turn(
    hold: Hold,
) -> None:
    running: set[str] = set()
    done: list[str] = []

    async def one(prefix: str) -> None:
        async with hold(prefix=prefix, wait_seconds=60):
            assert prefix == "b" or running <= {"b"}
            assert prefix != "b" or "" not in running
            running.add(prefix)
            await asyncio.sleep(0)
            running.remove(prefix)
            done.append(prefix)

    await asyncio.gather(*(one(prefix) for prefix in ("", "a", "a/x", "b")))
    assert sorted(done) == ["", "a", "a/x", "b"]


async def test_a_lock_with_nothing_else_under_it_is_deleted(
    hold: Hold, outputs: ContainerClient, inputs: ContainerClient
) -> None:
    async with hold():
        pass
    assert blobs_of(outputs, inputs) == []


async def test_a_foreign_blob_with_the_name_of_the_lock_is_an_error_and_stays(
    hold: Hold, lock: BlobClient
) -> None:
    lock.upload_blob(b"foreign")
    with pytest.raises(UsageError, match="reserved for runs"):
        async with hold():
            pytest.fail("the run uses a foreign blob")
    assert lock.download_blob().readall() == b"foreign"


async def test_uploads_that_are_kept_are_found_by_the_next_run_and_the_lock_is_gone(
    hold: Hold,
    ticket: Ticket,
    lock: BlobClient,
    record: BlobClient,
    upload: Callable[[], object],
) -> None:
    async with hold(ticket) as held:
        upload()
        await held.clear_holder()
    assert not lock.exists()
    assert record.get_blob_properties().lease.state == "available"
    request = a_request((lock.container_name, record.container_name))
    assert not await has_predecessor(ticket, request)
    async with hold() as held:
        assert held.inputs == {"c0"}
        assert held.predecessors == ()


async def test_a_stopped_run_is_still_named_by_the_lock(
    hold: Hold, ticket: Ticket, upload: Callable[[], object], containers: tuple[str, str]
) -> None:
    assert not await has_predecessor(ticket, a_request(containers))
    async with hold():
        upload()
    assert await has_predecessor(ticket, a_request(containers))


def jobs_and_pools(held: HeldLock) -> set[tuple[str, str, str]]:
    found = [
        (each.lock_id, each.job_and_pool["job"], each.job_and_pool["pool"])
        for each in held.predecessors
    ]
    assert len(found) == len(set(found))
    return set(found)


async def fail(holding: Any, then: Callable[[], object]) -> None:
    with suppress(ZeroDivisionError):
        async with holding:
            then()
            _ = 1 / 0


async def test_a_lock_is_released_on_an_error_and_names_the_job_and_pool_to_end(
    hold: Hold, ticket: Ticket, upload: Callable[[], object]
) -> None:
    await fail(hold(ticket), upload)
    async with hold() as held:
        assert jobs_and_pools(held) == {(ticket.lock_id, ticket.job_id, ticket.pool_id)}


async def test_the_job_of_a_stopped_run_into_an_overlapping_folder_is_to_be_ended_too(
    hold: Hold, ticket: Ticket, upload: Callable[[], object]
) -> None:
    await fail(hold(ticket), upload)
    async with hold(prefix="talks") as held:
        assert jobs_and_pools(held) == {(ticket.lock_id, ticket.job_id, ticket.pool_id)}


async def test_a_lock_does_not_name_a_shared_pool(
    hold: Hold, ticket: Ticket, lock: BlobClient
) -> None:
    async with hold(a_ticket(lock_id=ticket.lock_id, owns_pool=False)):
        assert lock.get_blob_properties().metadata["pool"] == ""


OLD = {"run": "r", "job": "convert-1-old", "pool": "p", "since": "2026-11-01T00:00:00+00:00"}


async def test_a_lock_that_an_earlier_version_holds_beside_the_uploads_is_honoured(
    hold: Hold, record: BlobClient, outputs: ContainerClient
) -> None:
    record.upload_blob(b"", metadata=OWN | OLD)
    lease = record.acquire_lease()
    with pytest.raises(OutputInUseError, match=r"\(convert-1-old, started 2026-11-01"):
        async with hold():
            pytest.fail("the run of an earlier version is ignored")
    assert blobs_of(outputs) == []
    lease.release()
    async with hold(wait_seconds=20):
        pass


async def test_a_stale_lock_of_an_earlier_version_names_a_job_to_end_and_is_deleted(
    hold: Hold,
    ticket: Ticket,
    record: BlobClient,
    outputs: ContainerClient,
    inputs: ContainerClient,
) -> None:
    record.upload_blob(b"", metadata=OWN | OLD)
    request = a_request((outputs.container_name, inputs.container_name))
    assert await has_predecessor(ticket, request)
    async with hold() as held:
        assert jobs_and_pools(held) == {(ticket.lock_id, "convert-1-old", "p")}
    assert blobs_of(outputs, inputs) == []


async def test_a_run_of_an_earlier_version_is_excluded_by_this_one(
    hold: Hold, record: BlobClient
) -> None:
    async with hold():
        with pytest.raises(HttpResponseError, match="lease"):
            record.acquire_lease()


async def wait_for_renewals(faults: StorageProxy) -> None:
    """Wait until the run has sent requests for several renewals of its two leases."""
    before = len(about_leases(faults))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(about_leases(faults)) < before + 6:  # noqa: ASYNC110  another thread counts
            await asyncio.sleep(0.02)


def about_leases(faults: StorageProxy) -> list[RecordedRequest]:
    return [request for request in faults.requests if request.comp == "lease"]


async def wait_for_expiry() -> None:
    """Wait until runs assume that a lease has expired which was not renewed meanwhile."""
    with suppress(TimeoutError):
        async with asyncio.timeout(EARLY_SECONDS + 0.1):
            await asyncio.Event().wait()


async def error_of(holding: Awaitable[None]) -> BaseException:
    (error,) = await asyncio.gather(holding, return_exceptions=True)
    assert isinstance(error, BaseException)
    return error


async def test_a_broken_lease_ends_the_run_with_an_error(hold: Hold, lock: BlobClient) -> None:
    def break_lease() -> None:
        BlobLeaseClient(lock).break_lease(0)

    error = await error_of(asyncio.create_task(hold_forever(hold(), break_lease)))
    assert isinstance(error, OutputInUseError)
    assert "The lock on the output was lost" in str(error)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs assume that leases expire after half a second. The real leases stay."""
    monkeypatch.setattr("tasks.renewal.LEASE_SECONDS", EARLY_SECONDS)
    monkeypatch.setattr("tasks.claim.LEASE_SECONDS", 1)


async def after_outage(
    holding: Any, faults: StorageProxy, meanwhile: Callable[[HeldLock], object]
) -> None:
    """Hold the lock through an outage in which the lease expires and something else happens."""
    async with holding as held:
        await wait_for_renewals(faults)
        faults.order(OUTAGE)
        await wait_for_expiry()
        meanwhile(held)
        faults.withdraw(OUTAGE)
        await wait_for_renewals(faults)  # the first ones take the leases again


def expire(lock: BlobClient, held: HeldLock) -> None:
    BlobLeaseClient(lock, lease_id=held.claim.leases[0].id).release()


@pytest.mark.usefixtures("early")
async def test_a_lease_that_expired_in_an_outage_is_taken_again_while_the_lock_names_the_run(
    hold: Hold, lock: BlobClient, storage_faults: StorageProxy
) -> None:
    async with hold() as held:
        await wait_for_renewals(storage_faults)
        storage_faults.order(OUTAGE)
        await wait_for_expiry()
        expire(lock, held)
        assert lock.get_blob_properties().lease.state == "available"
        storage_faults.withdraw(OUTAGE)
        await wait_for_renewals(storage_faults)
        assert lock.get_blob_properties().lease.state == "leased"


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("change", ["leased", "renamed", "deleted", "overlapped"])
async def test_a_run_whose_output_another_run_took_in_an_outage_ends_with_an_error(
    hold: Hold,
    lock: BlobClient,
    outputs: ContainerClient,
    storage_faults: StorageProxy,
    change: str,
) -> None:
    other = OWN | {"job": "convert-1-other"} | prefix_tag("talks")

    def take(held: HeldLock) -> None:
        expire(lock, held)
        match change:
            case "leased":
                lock.acquire_lease(15)
            case "renamed":
                lock.set_blob_metadata(other)
            case "deleted":
                lock.delete_blob()
            case "overlapped":
                outputs.upload_blob(f"{LOCKS}other", b"", metadata=other).acquire_lease(15)

    with pytest.raises(OutputInUseError, match="The lock on the output was lost"):
        await after_outage(hold(), storage_faults, take)
    if change in ("leased", "renamed"):
        assert lock.exists()


@pytest.mark.usefixtures("early")
async def test_a_run_that_only_tries_an_overlapping_folder_does_not_end_one_after_an_outage(
    hold: Hold, outputs: ContainerClient, storage_faults: StorageProxy
) -> None:
    tried = outputs.upload_blob(f"{LOCKS}other", b"", metadata=OWN | prefix_tag("talks"))

    def try_it(_: HeldLock) -> None:
        lease = tried.acquire_lease(15)
        asyncio.get_running_loop().call_later(0.2, lease.release)

    await after_outage(hold(), storage_faults, try_it)


@pytest.mark.usefixtures("quick_retries")
async def test_a_run_gives_up_its_lock_after_an_outage_of_minutes(
    storage_faults: StorageProxy, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang() -> None:
        async with hold():
            monkeypatch.setattr("tasks.outages.OUTAGE_SECONDS", -29)  # less than a lease: 1 s
            await wait_for_renewals(storage_faults)
            storage_faults.order(OUTAGE)
            await asyncio.Event().wait()

    async with asyncio.timeout(PATIENCE_SECONDS):
        error = await error_of(asyncio.create_task(hang()))
    assert isinstance(error, OutputInUseError)


@pytest.mark.usefixtures("quick_retries")
async def test_a_run_that_waits_lets_the_holder_renew_first_after_an_outage(
    hold: Hold, storage_faults: StorageProxy
) -> None:
    outage = Drop(when="before", comp="lease")
    storage_faults.order(outage)
    ended_at_seconds: list[float] = []

    def end() -> None:
        storage_faults.withdraw(outage)
        storage_faults.requests.clear()
        ended_at_seconds.append(time.monotonic())

    with reacting_to("Retrying.", end):
        async with asyncio.timeout(PATIENCE_SECONDS), hold():
            pass
    assert about_leases(storage_faults)[0].at_seconds - ended_at_seconds[0] > HEAD_START_SECONDS


async def test_an_unexpected_error_of_the_renewal_ends_the_run(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_renewal() -> None:
        monkeypatch.setattr("tasks.renewal.RENEWAL_SECONDS", None)  # not a number of seconds

    async with asyncio.timeout(PATIENCE_SECONDS):
        error = await error_of(asyncio.create_task(hold_forever(hold(), break_renewal)))
    assert isinstance(error, TypeError)


async def test_a_lease_that_another_run_has_taken_is_not_released(
    hold: Hold, outputs: ContainerClient, lock: BlobClient
) -> None:
    def take_lease() -> None:
        BlobLeaseClient(lock).break_lease(0)
        lock.acquire_lease(lease_duration=15)

    error = await error_of(asyncio.create_task(hold_forever(hold(), take_lease)))
    assert isinstance(error, OutputInUseError)
    assert lock.get_blob_properties().lease.state == "leased"
    assert blobs_of(outputs) == [lock.blob_name]


async def test_a_cancelled_run_releases_the_lock_and_stays_cancelled(
    hold: Hold, outputs: ContainerClient, inputs: ContainerClient
) -> None:
    begun = asyncio.Event()
    holding = asyncio.create_task(hold_forever(hold(), begun.set))
    await begun.wait()
    holding.cancel()
    assert isinstance(await error_of(holding), asyncio.CancelledError)
    assert blobs_of(outputs, inputs) == []


@pytest.mark.usefixtures("early")
async def test_a_lease_is_renewed_while_the_run_holds_it(
    hold: Hold, lock: BlobClient, storage_faults: StorageProxy
) -> None:
    async with hold():
        await wait_for_renewals(storage_faults)
        assert lock.get_blob_properties().lease.state == "leased"
