import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobLeaseClient, BlobServiceClient, ContainerClient
from records import a_ticket

from storage_proxy import Delay, StorageProxy
from tasks.errors import OutputInUseError
from tasks.lock import has_predecessor, hold_lock
from tasks.models import Ticket
from tasks.naming import OWN, input_blob, lock_blob

TICKET = a_ticket()


@pytest.fixture
def container(blobs: BlobServiceClient, containers: tuple[str, str]) -> ContainerClient:
    return blobs.create_container(containers[1])


@pytest.fixture
def lock(container: ContainerClient) -> BlobClient:
    return container.get_blob_client(lock_blob(TICKET.lock_id))


@pytest.fixture
def hold(container: ContainerClient) -> Callable[..., Any]:
    """Return a function that holds the lock for a ticket."""

    def hold_for(ticket: Ticket = TICKET, wait_seconds: float = 0) -> Any:
        name = container.container_name
        return hold_lock(ticket, container=name, wait_seconds=wait_seconds)

    return hold_for


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.lock.RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr("tasks.lock.RETRY_SECONDS", 0.05)


def upload(container: ContainerClient) -> None:
    container.upload_blob(input_blob(TICKET.lock_id, "c0"), b"media", metadata=OWN)


async def hold_forever(hold: Callable[..., Any], then: Callable[[], None]) -> None:
    async with hold():
        then()
        await asyncio.Event().wait()


async def test_a_lock_names_its_holder_and_cannot_be_written_by_others(
    hold: Callable[..., Any], lock: BlobClient
) -> None:
    async with hold() as held:
        assert (held.predecessor, held.inputs) == ({}, frozenset())
        metadata = lock.get_blob_properties().metadata
        assert (metadata["run"], metadata["job"]) == (TICKET.run_id, TICKET.job_id)
        with pytest.raises(HttpResponseError, match="lease"):
            lock.upload_blob(b"", overwrite=True)


async def test_a_second_run_gives_up_and_names_the_first(hold: Callable[..., Any]) -> None:
    async with hold():
        with pytest.raises(OutputInUseError, match=rf"this output \({TICKET.job_id}, started 20"):
            async with hold(a_ticket(lock_id=TICKET.lock_id)):
                pytest.fail("two runs hold the lock")


async def test_a_second_run_that_waits_gets_the_lock_after_the_first(
    hold: Callable[..., Any],
) -> None:
    order: list[str] = []

    async def second() -> None:
        async with hold(a_ticket(lock_id=TICKET.lock_id), wait_seconds=20):
            order.append("second")

    async with hold():
        waiting = asyncio.create_task(second())
        await asyncio.wait([waiting], timeout=0.3)
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_only_one_of_many_runs_holds_the_lock(hold: Callable[..., Any]) -> None:
    holders = most = 0

    async def one() -> None:
        nonlocal holders, most
        async with hold(a_ticket(lock_id=TICKET.lock_id), wait_seconds=20):
            holders += 1
            most = max(most, holders)
            await asyncio.sleep(0)
            holders -= 1

    await asyncio.gather(*(one() for _ in range(5)))
    assert most == 1


async def test_two_outputs_can_be_locked_at_the_same_time(hold: Callable[..., Any]) -> None:
    async with hold(), hold(a_ticket()):
        pass


async def test_a_lock_with_nothing_else_under_it_is_deleted(
    hold: Callable[..., Any], container: ContainerClient
) -> None:
    async with hold():
        pass
    assert list(container.list_blob_names()) == []


async def test_a_lock_with_uploads_is_kept_and_the_next_run_finds_them(
    hold: Callable[..., Any], container: ContainerClient, lock: BlobClient
) -> None:
    async with hold() as held:
        upload(container)
        await held.clear_holder()
    assert lock.get_blob_properties().lease.state == "available"
    assert not await has_predecessor(TICKET, container=container.container_name)
    async with hold() as held:
        assert held.inputs == {"c0"}
        assert held.predecessor == {}


async def test_a_stopped_run_is_still_named_by_the_lock(
    hold: Callable[..., Any], container: ContainerClient
) -> None:
    assert not await has_predecessor(TICKET, container=container.container_name)
    async with hold():
        upload(container)
    assert await has_predecessor(TICKET, container=container.container_name)


async def test_a_lock_is_released_on_an_error_and_names_the_job_and_pool_to_end(
    hold: Callable[..., Any], container: ContainerClient
) -> None:
    async def fail() -> None:
        async with hold():
            upload(container)
            raise ValueError("unrelated")

    with pytest.raises(ValueError, match="unrelated"):
        await fail()
    async with hold() as held:
        assert held.predecessor["job"] == TICKET.job_id
        assert held.predecessor["pool"] == TICKET.pool_id


async def test_a_lock_does_not_name_a_shared_pool(
    hold: Callable[..., Any], lock: BlobClient
) -> None:
    async with hold(a_ticket(lock_id=TICKET.lock_id, owns_pool=False)):
        assert lock.get_blob_properties().metadata["pool"] == ""


async def wait_for_renewals() -> None:
    """Wait while the lease is renewed several times."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.4):
            await asyncio.Event().wait()


async def error_of(holding: Awaitable[None]) -> BaseException:
    (error,) = await asyncio.gather(holding, return_exceptions=True)
    assert isinstance(error, BaseException)
    return error


async def test_a_broken_lease_ends_the_run_with_an_error(
    hold: Callable[..., Any], lock: BlobClient
) -> None:
    def break_lease() -> None:
        BlobLeaseClient(lock).break_lease(0)

    error = await error_of(asyncio.create_task(hold_forever(hold, break_lease)))
    assert isinstance(error, OutputInUseError)
    assert "The lock on the output was lost" in str(error)


async def test_a_run_that_cannot_reach_storage_stops_before_its_lease_expires(
    storage_faults: StorageProxy, hold: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang() -> None:
        async with hold():
            monkeypatch.setattr(
                "tasks.lock.LEASE_SECONDS", 0.5
            )  # the run gives up earlier, the real lease stays
            await wait_for_renewals()
            storage_faults.order(Delay(comp="lease", seconds=2))
            await asyncio.Event().wait()

    error = await error_of(asyncio.create_task(hang()))
    assert isinstance(error, OutputInUseError)


async def test_an_unexpected_error_of_the_renewal_ends_the_run(
    hold: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_lease() -> None:
        monkeypatch.setattr("tasks.lock.RENEWAL_SECONDS", None)  # not a number of seconds

    async with asyncio.timeout(5):
        error = await error_of(asyncio.create_task(hold_forever(hold, break_lease)))
    assert isinstance(error, TypeError)


async def test_a_lease_that_another_run_has_taken_is_not_released(
    hold: Callable[..., Any], container: ContainerClient, lock: BlobClient
) -> None:
    def take_lease() -> None:
        BlobLeaseClient(lock).break_lease(0)
        lock.acquire_lease(lease_duration=15)

    error = await error_of(asyncio.create_task(hold_forever(hold, take_lease)))
    assert isinstance(error, OutputInUseError)
    assert lock.get_blob_properties().lease.state == "leased"
    assert list(container.list_blob_names()) == [lock.blob_name]


async def test_a_cancelled_run_releases_the_lock_and_stays_cancelled(
    hold: Callable[..., Any], container: ContainerClient
) -> None:
    begun = asyncio.Event()
    holding = asyncio.create_task(hold_forever(hold, begun.set))
    await begun.wait()
    holding.cancel()
    assert isinstance(await error_of(holding), asyncio.CancelledError)
    assert list(container.list_blob_names()) == []


async def test_a_lease_is_renewed_while_the_run_holds_it(
    hold: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hold():
        monkeypatch.setattr(
            "tasks.lock.LEASE_SECONDS", 0.5
        )  # the run gives up earlier, the real lease stays
        await wait_for_renewals()
        await wait_for_renewals()
