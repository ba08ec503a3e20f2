"""The leftovers of runs that could not clean up: found by their tags, deleted under their lock.

A leftover has our tags, has expired, and no run holds its lock. A warm pool with an open job is not
a leftover. Prefect is not asked, because it does not know the runs of other Prefect servers.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from azure.batch.aio import BatchClient
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from tasks.azure.clients import batch_client, blob_service
from tasks.azure.lease import Lease
from tasks.azure.tags import WARM, read_tags
from tasks.cleanup import delete_job, delete_pool, delete_uploads
from tasks.lock import try_lock
from tasks.naming import OWNER, lock_blob, record_blob
from tasks.stage import FEW, retry_if_answered, stage

GOING = ("deleting",)
OPEN = ("active", "disabling", "disabled", "terminating")  # batch tasks may be running
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leftover:
    kind: Literal["pool", "job", "uploads"]
    name: str
    lock_id: str
    expires_at: datetime
    output_container: str = ""  # which contains the lock; empty: an earlier version left it


@stage("find leftovers", retries=FEW, retry_condition=retry_if_answered)
async def find_leftovers(container: str, *, now: datetime) -> tuple[Leftover, ...]:
    """Return all expired pools, jobs and uploads of runs."""
    async with batch_client() as batch, blob_service() as service:
        found = [leftover async for leftover in _tagged(batch)]
        found += [item async for item in _uploads(service.get_container_client(container))]
    return tuple(leftover for leftover in found if leftover.expires_at < now)


async def _tagged(batch: BatchClient) -> AsyncIterator[Leftover]:
    busy: set[str] = set()
    async for job in batch.list_jobs(select=["id", "state", "metadata", "poolInfo"]):
        if job.state in OPEN and job.pool_info:
            busy.add((job.pool_info.pool_id or "").lower())
        if job.state not in GOING and (item := to_leftover("job", job.id, read_tags(job.metadata))):
            yield item
    async for pool in batch.list_pools(select=["id", "state", "metadata"]):
        tags = read_tags(pool.metadata)
        if pool.state in GOING or (WARM in tags and pool.id.lower() in busy):
            continue
        if item := to_leftover("pool", pool.id, tags):
            yield item


async def _uploads(container: ContainerClient) -> AsyncIterator[Leftover]:
    """Yield the uploads of stopped runs. The records beside them have an expiry."""
    if not await container.exists():
        return
    async for folder in container.walk_blobs():
        lock_id = folder.name.rstrip("/")
        tags = await _recorded_tags(container, lock_id)
        if item := to_leftover("uploads", f"{container.container_name}/{lock_id}", tags):
            yield item


async def _recorded_tags(container: ContainerClient, lock_id: str) -> dict[str, str]:
    try:
        record = await container.get_blob_client(record_blob(lock_id)).get_blob_properties()
    except ResourceNotFoundError:
        return {}
    return (record.metadata or {}) | {"lock": lock_id}


def to_leftover(
    kind: Literal["pool", "job", "uploads"], name: str, tags: Mapping[str, str]
) -> Leftover | None:
    """Return a leftover, or None if the tags are not ours or have no expiry."""
    if tags.get("owner") != OWNER or not tags.get("lock"):
        return None
    try:
        expires_at = datetime.fromisoformat(tags.get("expires_at", ""))
    except ValueError:
        return None
    container = tags.get("output", "")
    return Leftover(kind, name, tags["lock"], expires_at.astimezone(UTC), container)


@stage("delete leftovers")
async def delete_leftovers(container: str, leftovers: Iterable[Leftover]) -> tuple[Leftover, ...]:
    """Delete each leftover whose lock is free. Return the deleted ones."""
    deleted: list[Leftover] = []
    async with batch_client() as batch, blob_service() as service:
        for leftover in leftovers:
            lock = await _lease(service, leftover.output_container, lock_blob(leftover.lock_id))
            record = await _lease(service, container, record_blob(leftover.lock_id))
            async with try_lock(lock, record) as is_free:
                if not is_free:
                    logger.info(
                        "Kept the %s %s: a run holds its lock", leftover.kind, leftover.name
                    )
                    continue
                await _delete(leftover, batch, service=service, container=container)
                deleted.append(leftover)
    return tuple(deleted)


async def _lease(service: BlobServiceClient, container: str, blob: str) -> Lease | None:
    """Return a lease to take, or None if the container does not exist."""
    client = service.get_container_client(container) if container else None
    return Lease(client, blob) if client and await client.exists() else None


async def _delete(
    leftover: Leftover, batch: BatchClient, *, service: BlobServiceClient, container: str
) -> None:
    match leftover.kind:
        case "pool":
            await delete_pool(batch, leftover.name, lock_id=leftover.lock_id)
        case "job":
            await delete_job(batch, leftover.name, lock_id=leftover.lock_id)
        case "uploads":
            await delete_uploads(service, container, lock_id=leftover.lock_id)
