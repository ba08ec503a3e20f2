"""What runs left behind that could not clean up: found by its tags, deleted under its lock.

Prefect is never asked whether a run lives: another machine's Prefect would not know. What bears our
tag, is past its time and whose lock nobody holds, nobody needs, but for a warm pool that has a job.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from azure.batch.aio import BatchClient
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from tasks.azure.clients import batch_client, blob_service
from tasks.azure.tags import WARM, read_tags
from tasks.cleanup import delete_inputs, delete_job, delete_pool
from tasks.lock import try_lock
from tasks.naming import OWNER, lock_blob
from tasks.stage import stage

GOING = ("deleting",)
OPEN = ("active", "disabling", "disabled", "terminating")  # whose batch tasks may run
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leftover:
    kind: Literal["pool", "job", "uploads"]
    name: str
    lock_id: str
    expires_at: datetime


@stage("find leftovers")
async def find_leftovers(container: str, *, now: datetime) -> tuple[Leftover, ...]:
    """All pools, jobs and uploads of ours whose time has passed."""
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
    """Locks that bear the time of a run that did not end well; its uploads lie beside them."""
    if not await container.exists():
        return
    async for folder in container.walk_blobs():
        lock_id = folder.name.rstrip("/")
        tags = await _lock_tags(container, lock_id)
        if item := to_leftover("uploads", f"{container.container_name}/{lock_id}", tags):
            yield item


async def _lock_tags(container: ContainerClient, lock_id: str) -> dict[str, str]:
    try:
        lock = await container.get_blob_client(lock_blob(lock_id)).get_blob_properties()
    except ResourceNotFoundError:
        return {}
    return (lock.metadata or {}) | {"lock": lock_id}


def to_leftover(
    kind: Literal["pool", "job", "uploads"], name: str, tags: Mapping[str, str]
) -> Leftover | None:
    """None where the tags are not ours, or name no time."""
    if tags.get("owner") != OWNER or not tags.get("lock"):
        return None
    try:
        expires_at = datetime.fromisoformat(tags.get("expires_at", ""))
    except ValueError:
        return None
    return Leftover(kind, name, tags["lock"], expires_at.astimezone(UTC))


@stage("delete leftovers")
async def delete_leftovers(container: str, leftovers: Iterable[Leftover]) -> tuple[Leftover, ...]:
    """Delete each under its lock. Returns those that are gone: a run that lives keeps its own."""
    deleted: list[Leftover] = []
    async with batch_client() as batch, blob_service() as service:
        inputs = service.get_container_client(container)
        for leftover in leftovers:
            async with try_lock(inputs, leftover.lock_id) as is_free:
                if not is_free:
                    logger.info("Left %s %s: a run holds its lock", leftover.kind, leftover.name)
                    continue
                await _delete(leftover, batch, inputs)
                deleted.append(leftover)
    return tuple(deleted)


async def _delete(leftover: Leftover, batch: BatchClient, inputs: ContainerClient) -> None:
    match leftover.kind:
        case "pool":
            await delete_pool(batch, leftover.name, lock_id=leftover.lock_id)
        case "job":
            await delete_job(batch, leftover.name, lock_id=leftover.lock_id)
        case "uploads":
            await delete_inputs(inputs, leftover.lock_id)
