"""One run at a time onto one output: a blob with a short lease, renewed while the run lasts.

A container's lease would block deletion only, not writes; a lease without end would outlive a
machine that loses its power. A blob lease lasts 15 to 60 s and is renewed in time.
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
    """What a run finds under the lock that it has taken."""

    predecessor: Mapping[str, str]  # job and pool of a run that did not end well; else empty
    inputs: frozenset[str]  # content hashes that are uploaded already
    blob: BlobClient
    lease: BlobLeaseClient

    async def forget(self) -> None:
        """A run that came to its end leaves nothing for the next one, or for `sweep`, to end."""
        try:
            await self.blob.set_blob_metadata(OWN, lease=self.lease)
        except AzureError as error:
            logger.warning("The lock still names this run: %s", explain(error).problem)


@asynccontextmanager
async def hold_lock(
    ticket: Ticket, *, container: str, wait_seconds: float
) -> AsyncIterator[HeldLock]:
    """Hold the lock on an output for as long as the block runs.

    Raises:
        OutputInUseError: another run holds it and has not let go of it in time, or has taken it
            while this one could not renew it.
        UsageError: names that are the run's to give are taken by somebody else's blobs.
    """
    async with blob_service() as service:
        inputs = service.get_container_client(container)
        blob = inputs.get_blob_client(lock_blob(ticket.lock_id))
        with timing("lock"):
            await _check_names(inputs, ticket.lock_id)
            lease = await _acquire(blob, wait_seconds=wait_seconds)
        async with _kept(inputs, blob, lease):
            predecessor = await _last_holder(blob)
            await blob.set_blob_metadata(_holder(ticket), lease=lease)
            yield HeldLock(predecessor, await _list_inputs(inputs, ticket.lock_id), blob, lease)


async def _check_names(inputs: ContainerClient, lock_id: str) -> None:
    async for blob in list_blobs(inputs, f"{lock_id}/"):
        if not is_own(blob.metadata):
            raise UsageError(
                f"The container {inputs.container_name!r} has a blob that no run of ours made, of"
                f" a name that is ours to give: {blob.name!r}.",
                "Choose another container for uploads: --cleanup.container.",
            )


async def has_predecessor(ticket: Ticket, *, container: str) -> bool:
    """Whether the lock names a run, which has not come to its end: it lives, or was stopped."""
    async with blob_service() as service:
        blob = service.get_blob_client(container, lock_blob(ticket.lock_id))
        try:
            return bool(await _last_holder(blob))
        except ResourceNotFoundError:
            return False


async def _last_holder(blob: BlobClient) -> Mapping[str, str]:
    """As the lock names it; empty where it came to its end."""
    metadata = (await blob.get_blob_properties()).metadata or {}
    return metadata if "job" in metadata else {}


@asynccontextmanager
async def try_lock(inputs: ContainerClient, lock_id: str) -> AsyncIterator[bool]:
    """Hold a lock, if nobody does, without putting a name on it. Yields whether it is held."""
    blob = inputs.get_blob_client(lock_blob(lock_id))
    lease = await _try_acquire(blob)
    if not lease:
        yield False
        return
    async with _kept(inputs, blob, lease):
        yield True


@asynccontextmanager
async def _kept(
    inputs: ContainerClient, blob: BlobClient, lease: BlobLeaseClient
) -> AsyncIterator[None]:
    """Renew a lease while the block runs, which is cancelled if it is lost; then let go of it."""
    holder = _current_task()
    renewal = asyncio.create_task(_renew(lease))
    renewal.add_done_callback(lambda ended: ended.cancelled() or holder.cancel())
    try:
        yield
    except asyncio.CancelledError:
        if not renewal.done() or renewal.cancelled():  # the run, or its loop, is being ended
            raise
        holder.uncancel()
        renewal.result()  # a worker's SIGTERM may have been raised in there
        raise OutputInUseError(
            "The lock on the output was lost: storage could not be reached to renew it.",
            "Run again: what is converted stays.",
        ) from None
    finally:
        renewal.cancel()
        await asyncio.shield(_release(inputs, blob, lease))


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  a coroutine always runs in one
    return task


def _holder(ticket: Ticket) -> dict[str, str]:
    return OWN | {
        "run": ticket.run_id,
        "job": ticket.job_id,
        "pool": ticket.pool_id if ticket.owns_pool else "",
        "since": ticket.started_at.isoformat(timespec="seconds"),
        "expires_at": ticket.deadline.isoformat(timespec="seconds"),
    }


async def _acquire(blob: BlobClient, *, wait_seconds: float) -> BlobLeaseClient:
    patience = asyncio.get_running_loop().time() + wait_seconds
    lease = await _try_acquire(blob)
    if not lease:
        logger.info("Waiting for another run to let go of the output: %s", await _who(blob))
    while not lease:
        if asyncio.get_running_loop().time() >= patience:
            raise OutputInUseError(
                f"Another run converts into the same output: {await _who(blob)}.",
                "Wait for its end, choose another output prefix, or a longer lock_wait_seconds.",
            )
        await asyncio.sleep(RETRY_SECONDS)
        lease = await _try_acquire(blob)
    return lease


async def _try_acquire(blob: BlobClient) -> BlobLeaseClient | None:
    try:
        if not await blob.exists():
            await blob.upload_blob(b"", overwrite=False, metadata=OWN)
        return await blob.acquire_lease(lease_duration=LEASE_SECONDS)
    except (ResourceExistsError, ResourceNotFoundError):  # leased, or just now made or deleted
        return None


async def _who(blob: BlobClient) -> str:
    try:
        holder = (await blob.get_blob_properties()).metadata or {}
    except ResourceNotFoundError:
        return "it ends just now"
    return f"{holder.get('job', 'of no name yet')}, since {holder.get('since', 'just now')}"


async def _renew(lease: BlobLeaseClient) -> None:
    """Keep the lease alive; returns once it is lost, or may be."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LEASE_SECONDS) as lost:
            await _renew_until(lost, lease)


async def _renew_until(lost: asyncio.Timeout, lease: BlobLeaseClient) -> None:
    """Each renewal puts off the time at which the lease is lost; returns where one is refused."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        asked_at = clock()
        try:
            await lease.renew()
            lost.reschedule(asked_at + LEASE_SECONDS)
        except AzureError as error:
            if not is_transient(error):
                return


async def _release(inputs: ContainerClient, blob: BlobClient, lease: BlobLeaseClient) -> None:
    """The lock goes when nothing is left under it; else it stays and tells whose that is."""
    folder = blob.blob_name.rpartition("/")[0] + "/"
    try:
        left = {}
        async for found in list_blobs(inputs, folder, least_a_page=2):
            left[found.name] = is_own(found.metadata)
            if len(left) > 1:  # there may be a million more
                break
        if left == {blob.blob_name: True}:
            await blob.delete_blob(lease=lease)
        else:
            await lease.release()
    except AzureError:
        logger.warning("The lock could not be released: it ends by itself in %s s", LEASE_SECONDS)


async def _list_inputs(inputs: ContainerClient, lock_id: str) -> frozenset[str]:
    folder = input_blob(lock_id, "")
    names = list_names(inputs, folder)
    return frozenset([name.removeprefix(folder) async for name in names])
