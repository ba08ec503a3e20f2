"""A run's claim on its output: two leases, which it takes if no other run prevents it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient
from prefect import runtime

from tasks.azure.error_wording import explain
from tasks.azure.lease import LEASE_SECONDS, Lease
from tasks.azure.listing import LeasableBlob, list_blobs, list_leases
from tasks.contention import Step, next_step, overlaps
from tasks.errors import OutputInUseError
from tasks.models import Ticket
from tasks.naming import LOCKS, OWN, is_own, lock_blob, prefix_tag, read_prefix, record_blob
from tasks.outages import patiently
from tasks.parameters import Request
from tasks.renewal import RENEWAL_SECONDS, released

RETRY_SECONDS = 2
LOOK_SECONDS = 0.5  # between two looks at the locks that overlap
SHOWN_NAME = 100  # characters of a run's name: metadata must be short
# After an outage, the run that holds the lock renews it before the runs that wait try again.
HEAD_START_SECONDS = RENEWAL_SECONDS + RETRY_SECONDS
Metadata = Mapping[str, str]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A run that a lock names although it does not hold it: it was stopped."""

    lock_id: str
    job_and_pool: Metadata


class Claim:
    """A run's two leases: on its lock, and on the record beside its uploads."""

    def __init__(self, service: BlobServiceClient, ticket: Ticket, request: Request) -> None:
        self._ticket = ticket
        self._folder = request.output.prefix.strip("/")
        self._outputs = service.get_container_client(request.output.container)
        self.inputs = service.get_container_client(request.cleanup.container)
        self._lock = Lease(self._outputs, lock_blob(ticket.lock_id))
        self._record = Lease(self.inputs, record_blob(ticket.lock_id))
        self._own = OWN | prefix_tag(self._folder)
        self._names_a_run = False
        self._is_behind_outage = False
        self.predecessors: tuple[Predecessor, ...] = ()
        self.taken_at = datetime.now(UTC)

    @property
    def leases(self) -> Sequence[Lease]:
        return self._lock, self._record

    async def wait(self, wait_seconds: float) -> None:
        """Take the leases, or wait until they are free and no other lock overlaps.

        Raises:
            OutputInUseError: Another run did not release its lock in time.
        """
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + wait_seconds
        obstacle = await patiently(self._try)
        if obstacle:
            logger.info("Waiting for another run that is using this output (%s).", obstacle)
        while obstacle:
            if clock() >= give_up_at:
                raise OutputInUseError(
                    f"Another run is using this output ({obstacle}).",
                    "Wait until it ends, choose another output prefix, or raise"
                    " --limits.lock-wait-seconds.",
                )
            await asyncio.sleep(RETRY_SECONDS)
            obstacle = await patiently(self._try)

    async def _try(self) -> str:
        """Try to take both leases. Return which run prevents it. Empty: they are taken."""
        if self._is_behind_outage:
            await self._list_overlapping()  # fails until storage responds again
            await asyncio.sleep(HEAD_START_SECONDS)
        self._is_behind_outage, self.taken_at = True, datetime.now(UTC)
        try:
            obstacle = await self._take_both()
        except asyncio.CancelledError:
            await asyncio.shield(released(self._give_way))
            raise
        if obstacle:
            await self._give_way()
        self._is_behind_outage = False
        return obstacle

    async def _take_both(self) -> str:
        # A run that waits only looks: with a lease on its own lock, it would keep others waiting.
        if others := self._held_by_others(await self._list_overlapping()):
            return describe(others[0].metadata)
        if not await self._lock.take(self._own):
            return await describe_holder(self._lock)
        found = await self._list_overlapping()
        asked_at = datetime.now(UTC)
        while (step := self._next_step(found, asked_at=asked_at)) == "look again":
            await asyncio.sleep(LOOK_SECONDS)
            found = await self._list_overlapping()
        self._names_a_run = any("job" in blob.metadata for blob in found if self._is_lock(blob))
        if step == "give way":
            return describe(self._held_by_others(found)[0].metadata)
        if not await self._record.take(OWN):
            return await describe_holder(self._record)
        named = (*to_predecessors(found), *await self._recorded())
        by_job = {each.job_and_pool["job"]: each for each in named}
        by_job.pop(self._ticket.job_id, None)  # an earlier try was interrupted
        self.predecessors = tuple(by_job.values())
        await self._write(holder_metadata(self._ticket, run_name=runtime.flow_run.name or ""))
        return ""

    def _next_step(self, found: Sequence[LeasableBlob], *, asked_at: datetime) -> Step:
        folders = [read_prefix(blob.metadata) or "" for blob in self._held_by_others(found)]
        return next_step(self._folder, folders, asked_at=asked_at, now=datetime.now(UTC))

    async def _list_overlapping(self) -> list[LeasableBlob]:
        """Return all locks on folders that contain each other, this run's own included."""
        return [
            blob
            for blob in await list_leases(self._outputs, LOCKS)
            if is_own(blob.metadata) and (self._is_lock(blob) or self._overlaps(blob))
        ]

    def _overlaps(self, blob: LeasableBlob) -> bool:
        folder = read_prefix(blob.metadata)
        return folder is not None and overlaps(self._folder, folder)

    def _is_lock(self, blob: LeasableBlob) -> bool:
        return blob.name == lock_blob(self._ticket.lock_id)

    def _held_by_others(self, found: Sequence[LeasableBlob]) -> list[LeasableBlob]:
        return [blob for blob in found if blob.is_leased and not self._is_lock(blob)]

    async def _recorded(self) -> tuple[Predecessor, ...]:
        """Return the run that the record names. An earlier version wrote no other lock."""
        metadata = (await self._record.blob.get_blob_properties()).metadata or {}
        return (Predecessor(self._ticket.lock_id, metadata),) if "job" in metadata else ()

    async def _write(self, holder: dict[str, str]) -> None:
        await self._lock.write(self._own | holder)
        await self._record.write(OWN | {"output": self._ticket.output_container} | holder)
        self._names_a_run = bool(holder)

    async def take_again(self) -> bool:
        """Take both leases after an outage. Return whether no other run has used the output."""
        for lease in self.leases:
            if (await lease.take_again()).get("job") != self._ticket.job_id:
                return False
        # A run that is only trying gives way. One that has started does not.
        looks = round(LEASE_SECONDS / 2 / LOOK_SECONDS)
        for _ in range(looks):
            if not self._held_by_others(await self._list_overlapping()):
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def clear_holder(self) -> None:
        """Remove the run from the lock: it leaves no job or pool for the next run or `sweep`."""
        try:
            await self._write({})
        except AzureError as error:
            logger.warning("The lock still names this run: %s", explain(error).problem)

    async def _give_way(self) -> None:
        await self._record.release()
        await (self._lock.release() if self._names_a_run else self._lock.delete())

    async def release(self) -> None:
        """Release both leases. Delete what says nothing to the next run or to `sweep`."""
        is_empty = await is_last(self._record)
        await (self._record.delete() if is_empty else self._record.release())
        is_needed = self._names_a_run and not is_empty
        await (self._lock.release() if is_needed else self._lock.delete())

    async def abandon(self) -> None:
        """Release the leases, but change nothing: another run has used the output."""
        for lease in self.leases:
            await lease.release()


def holder_metadata(ticket: Ticket, *, run_name: str) -> dict[str, str]:
    return {
        "run": ticket.run_id,
        "run_name": quote(run_name[:SHOWN_NAME]),
        "job": ticket.job_id,
        "pool": ticket.pool_id if ticket.owns_pool else "",
        "since": ticket.started_at.isoformat(timespec="seconds"),
        "expires_at": ticket.deadline.isoformat(timespec="seconds"),
    }


def to_predecessors(found: Sequence[LeasableBlob]) -> tuple[Predecessor, ...]:
    """Return the runs that locks name, after each lock that another run holds is excluded."""
    return tuple(
        Predecessor(blob.name.removeprefix(LOCKS), blob.metadata)
        for blob in found
        if "job" in blob.metadata
    )


async def describe_holder(lease: Lease) -> str:
    try:
        return describe((await lease.blob.get_blob_properties()).metadata or {})
    except ResourceNotFoundError:
        return "it is ending"


def describe(holder: Metadata) -> str:
    """Return which run holds a lock, and which folder it uses if it is not the whole container."""
    folder = f", in the folder {read_prefix(holder)!r}" if read_prefix(holder) else ""
    if "job" not in holder:
        return f"started a moment ago{folder}"
    name = unquote(holder.get("run_name", ""))  # an earlier version wrote none
    run = f"the flow run {name!r}, " if name else ""
    return f"{run}{holder['job']}, started {holder['since']}{folder}"


async def is_last(record: Lease) -> bool:
    """Return whether runs left nothing beside the record."""
    folder = record.blob.blob_name.rpartition("/")[0] + "/"
    left = {}
    async for found in list_blobs(record.container, folder, min_page_size=2):
        left[found.name] = is_own(found.metadata)
        if len(left) > 1:  # there may be a million
            break
    return left == {record.blob.blob_name: True}
