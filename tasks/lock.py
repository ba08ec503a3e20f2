"""The lock that lets one run at a time use an output: a blob with a short lease.

The blob is in the output container, so every run into the same output finds it. It names the
folder that it locks: runs into folders that contain each other exclude each other, too.

A lease on a container blocks only its deletion, not writes. An infinite lease would outlive a
machine that loses power. A lease on a blob lasts 15 to 60 s, and the run renews it in time. If an
outage prevents that, the run takes it again while the blob still names the run's job.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient

from tasks.azure.clients import blob_service
from tasks.azure.lease import Lease
from tasks.azure.listing import list_blobs, list_names
from tasks.claim import Claim, Predecessor, is_last
from tasks.errors import UsageError
from tasks.models import Ticket
from tasks.naming import OWN, input_blob, is_own, lock_blob, record_blob
from tasks.outages import patiently
from tasks.parameters import Request
from tasks.renewal import Renewal, released
from tasks.stage import timing


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that a run holds, and what it found there."""

    predecessors: tuple[Predecessor, ...]  # runs that were stopped, with their jobs and pools
    inputs: frozenset[str]  # names of the uploads that are there already, as in input_name
    claim: Claim
    renewal: Renewal

    @property
    def is_lost(self) -> bool:
        return self.renewal.is_lost

    async def clear_holder(self) -> None:
        await self.claim.clear_holder()


@asynccontextmanager
async def hold_lock(
    ticket: Ticket, request: Request, *, wait_seconds: float
) -> AsyncIterator[HeldLock]:
    """Hold the lock on the output during the block.

    Raises:
        OutputInUseError: Another run did not release the lock in time, or this run lost it.
        UsageError: A blob that no run created has a name that is reserved for runs.
    """
    async with blob_service() as service:
        claim = Claim(service, ticket, request)
        with timing("lock"):
            await patiently(lambda: check_names(service, ticket, request))
            await claim.wait(wait_seconds)
        renewal = Renewal(claim.leases, taken_at=claim.taken_at, take_again=claim.take_again)
        try:
            async with renewal.running():
                inputs = await patiently(lambda: list_inputs(claim.inputs, ticket.lock_id))
                yield HeldLock(claim.predecessors, inputs, claim, renewal)
        finally:
            await asyncio.shield(released(claim.abandon if renewal.is_lost else claim.release))


async def check_names(service: BlobServiceClient, ticket: Ticket, request: Request) -> None:
    """Check that all blobs with names that are reserved for this run are of runs."""
    places = (
        (request.output.container, lock_blob(ticket.lock_id), "--container"),
        (request.cleanup.container, f"{ticket.lock_id}/", "--cleanup.container"),
    )
    for container, prefix, flag in places:
        async for blob in list_blobs(service.get_container_client(container), prefix):
            if not is_own(blob.metadata):
                raise UsageError(
                    f"The blob {blob.name!r} in the container {container!r} has a name that is"
                    " reserved for runs, but no run created it.",
                    f"Choose another container for {flag}.",
                )


async def has_predecessor(ticket: Ticket, request: Request) -> bool:
    """Return whether the lock names a run: it is still running, or was stopped."""
    async with blob_service() as service:
        lock = service.get_blob_client(request.output.container, lock_blob(ticket.lock_id))
        record = service.get_blob_client(request.cleanup.container, record_blob(ticket.lock_id))
        return bool(await job_of(lock) or await job_of(record))


async def job_of(blob: BlobClient) -> str:
    """Return the job of the run that a lock or a record names. Empty: none."""
    try:
        return ((await blob.get_blob_properties()).metadata or {}).get("job", "")
    except ResourceNotFoundError:
        return ""


async def list_inputs(inputs: ContainerClient, lock_id: str) -> frozenset[str]:
    folder = input_blob(lock_id, "")
    names = list_names(inputs, folder)
    return frozenset([name.removeprefix(folder) async for name in names])


@asynccontextmanager
async def try_lock(lock: Lease | None, record: Lease | None) -> AsyncIterator[bool]:
    """Try to take the leases on a lock and its record during the block. Yield whether it worked.

    None: its container does not exist, or an earlier version left no lock there.
    """
    leases = [lease for lease in (lock, record) if lease]
    taken_at = datetime.now(UTC)
    taken = [lease for lease in leases if await lease.take(OWN)]
    try:
        if len(taken) < len(leases):
            yield False
            return
        async with Renewal(taken, taken_at=taken_at, take_again=never).running():
            yield True
    finally:
        await asyncio.shield(released(lambda: put_back(lock, record)))


async def never() -> bool:
    """Return that a lease cannot be taken again: what it protects can be done later."""
    return False


async def put_back(lock: Lease | None, record: Lease | None) -> None:
    """Release the leases. Delete a record without uploads, and a lock that names no other run."""
    ended = ""
    if record and record.is_taken:
        is_empty = await is_last(record)
        ended = await job_of(record.blob) if is_empty else ""
        await (record.delete() if is_empty else record.release())
    if lock and lock.is_taken:
        is_needed = await job_of(lock.blob) not in ("", ended)
        await (lock.release() if is_needed else lock.delete())
