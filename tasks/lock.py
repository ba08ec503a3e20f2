"""The lock that lets one run at a time use an output: a blob with a short lease.

A lease on a container blocks only its deletion, not writes. An infinite lease would outlive a
machine that loses power. A lease on a blob lasts 15 to 60 s, and the run renews it in time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, ContainerClient

from tasks.azure.api_errors import is_transient
from tasks.azure.clients import blob_service
from tasks.azure.error_wording import explain
from tasks.azure.listing import list_blobs, list_names
from tasks.errors import OutputInUseError, UsageError
from tasks.models import Ticket
from tasks.naming import OWN, input_blob, is_own, lock_blob
from tasks.stage import timing

LEASE_SECONDS = 30
RENEWAL_SECONDS = 10
RETRY_SECONDS = 2
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that a run holds, and what it found there."""

    predecessor: Mapping[str, str]  # job and pool of a run that was stopped, or empty
    inputs: frozenset[str]  # hashes of the contents that are uploaded already
    blob: BlobClient
    lease: BlobLeaseClient

    async def clear_holder(self) -> None:
        """Remove the run from the lock: it leaves no job or pool for the next run or `sweep`."""
        try:
            await self.blob.set_blob_metadata(OWN, lease=self.lease)
        except AzureError as error:
            logger.warning("The lock still names this run: %s", explain(error).problem)


@asynccontextmanager
async def hold_lock(
    ticket: Ticket, *, container: str, wait_seconds: float
) -> AsyncIterator[HeldLock]:
    """Hold the lock on an output during the block.

    Raises:
        OutputInUseError: Another run did not release the lock in time, or this run lost it.
        UsageError: A blob that no run created has a name that is reserved for runs.
    """
    async with blob_service() as service:
        inputs = service.get_container_client(container)
        blob = inputs.get_blob_client(lock_blob(ticket.lock_id))
        with timing("lock"):
            await _check_names(inputs, ticket.lock_id)
            lease = await _acquire(blob, wait_seconds=wait_seconds)
        async with _renewing(inputs, blob, lease):
            predecessor = await _last_holder(blob)
            await blob.set_blob_metadata(_holder_metadata(ticket), lease=lease)
            yield HeldLock(predecessor, await _list_inputs(inputs, ticket.lock_id), blob, lease)


async def _check_names(inputs: ContainerClient, lock_id: str) -> None:
    async for blob in list_blobs(inputs, f"{lock_id}/"):
        if not is_own(blob.metadata):
            raise UsageError(
                f"The blob {blob.name!r} in the container {inputs.container_name!r} has a name that"
                " is reserved for runs, but no run created it.",
                "Choose another container for --cleanup.container.",
            )


async def has_predecessor(ticket: Ticket, *, container: str) -> bool:
    """Return whether the lock names a run: it is still running, or was stopped."""
    async with blob_service() as service:
        blob = service.get_blob_client(container, lock_blob(ticket.lock_id))
        try:
            return bool(await _last_holder(blob))
        except ResourceNotFoundError:
            return False


async def _last_holder(blob: BlobClient) -> Mapping[str, str]:
    """Return the metadata of the last holder, or nothing if it has cleared them."""
    metadata = (await blob.get_blob_properties()).metadata or {}
    return metadata if "job" in metadata else {}


@asynccontextmanager
async def try_lock(inputs: ContainerClient, lock_id: str) -> AsyncIterator[bool]:
    """Try to hold a lock during the block, without naming a holder. Yield whether it worked."""
    blob = inputs.get_blob_client(lock_blob(lock_id))
    lease = await _try_acquire(blob)
    if not lease:
        yield False
        return
    async with _renewing(inputs, blob, lease):
        yield True


@asynccontextmanager
async def _renewing(
    inputs: ContainerClient, blob: BlobClient, lease: BlobLeaseClient
) -> AsyncIterator[None]:
    """Renew a lease during the block, then release it. Cancel the block if the lease is lost."""
    holder = _current_task()
    renewal = asyncio.create_task(_renew(lease))
    renewal.add_done_callback(lambda ended: ended.cancelled() or holder.cancel())
    try:
        yield
    except asyncio.CancelledError:
        if not renewal.done() or renewal.cancelled():  # the run or its event loop is being stopped
            raise
        holder.uncancel()
        renewal.result()  # raises a worker's SIGTERM if the task received it
        raise OutputInUseError(
            "The lock on the output was lost: its lease could not be renewed.",
            "Run again: converted files are kept.",
        ) from None
    finally:
        renewal.cancel()
        await asyncio.shield(_release(inputs, blob, lease))


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  a coroutine always runs in a task
    return task


def _holder_metadata(ticket: Ticket) -> dict[str, str]:
    return OWN | {
        "run": ticket.run_id,
        "job": ticket.job_id,
        "pool": ticket.pool_id if ticket.owns_pool else "",
        "since": ticket.started_at.isoformat(timespec="seconds"),
        "expires_at": ticket.deadline.isoformat(timespec="seconds"),
    }


async def _acquire(blob: BlobClient, *, wait_seconds: float) -> BlobLeaseClient:
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + wait_seconds
    lease = await _try_acquire(blob)
    if not lease:
        logger.info(
            "Waiting for another run that is using this output (%s).", await _describe_holder(blob)
        )
    while not lease:
        if clock() >= give_up_at:
            raise OutputInUseError(
                f"Another run is using this output ({await _describe_holder(blob)}).",
                "Wait until it ends, choose another output prefix, or raise"
                " --limits.lock-wait-seconds.",
            )
        await asyncio.sleep(RETRY_SECONDS)
        lease = await _try_acquire(blob)
    return lease


async def _try_acquire(blob: BlobClient) -> BlobLeaseClient | None:
    try:
        if not await blob.exists():
            await blob.upload_blob(b"", overwrite=False, metadata=OWN)
        return await blob.acquire_lease(lease_duration=LEASE_SECONDS)
    except (ResourceExistsError, ResourceNotFoundError):  # leased, or just created or deleted
        return None


async def _describe_holder(blob: BlobClient) -> str:
    try:
        holder = (await blob.get_blob_properties()).metadata or {}
    except ResourceNotFoundError:
        return "it is ending"
    if "job" not in holder:
        return "started a moment ago"
    return f"{holder['job']}, started {holder['since']}"


async def _renew(lease: BlobLeaseClient) -> None:
    """Renew the lease until it is lost or may be lost."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LEASE_SECONDS) as expiry:
            await _renew_until(expiry, lease)


async def _renew_until(expiry: asyncio.Timeout, lease: BlobLeaseClient) -> None:
    """Renew the lease until a renewal is refused. Each success postpones the expiry."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        sent_at = clock()
        try:
            await lease.renew()
            expiry.reschedule(sent_at + LEASE_SECONDS)
        except AzureError as error:
            if not is_transient(error):
                return


async def _release(inputs: ContainerClient, blob: BlobClient, lease: BlobLeaseClient) -> None:
    """Release the lease. Delete the lock too if nothing else is under it."""
    folder = blob.blob_name.rpartition("/")[0] + "/"
    try:
        left = {}
        async for found in list_blobs(inputs, folder, min_page_size=2):
            left[found.name] = is_own(found.metadata)
            if len(left) > 1:  # there may be a million
                break
        if left == {blob.blob_name: True}:
            await blob.delete_blob(lease=lease)
        else:
            await lease.release()
    except AzureError:
        logger.warning("The lock could not be released. It expires in %s s.", LEASE_SECONDS)


async def _list_inputs(inputs: ContainerClient, lock_id: str) -> frozenset[str]:
    folder = input_blob(lock_id, "")
    names = list_names(inputs, folder)
    return frozenset([name.removeprefix(folder) async for name in names])
