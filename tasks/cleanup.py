"""What becomes of what a run made. It deletes what bears the run's tag, and nothing else."""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from tasks.azure.autoscale import NO_NODES
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.listing import list_pages
from tasks.azure.tags import read_tags
from tasks.models import Ticket
from tasks.naming import OWNER, is_own, lock_blob
from tasks.parameters import Cleanup
from tasks.pool import shed_nodes
from tasks.stage import stage

# Blob Storage takes 256 in one batch. Azurite answers nobody else before it has done them all, and
# took half a minute for 256 on a busy machine: as long as the lock's lease, of which two runs that
# delete side by side are to take less than half.
DELETIONS_A_REQUEST = 50
logger = logging.getLogger(__name__)


@stage("cleanup")
async def clean_up(ticket: Ticket, cleanup: Cleanup, *, is_finished: bool) -> None:
    """End the job, delete the pool and, where the run came to its end, its uploads and logs."""
    async with batch_client() as batch:
        try:  # where one of them cannot be ended, the other is all the same
            await _end_pool(batch, ticket, cleanup)
        finally:
            end_job = delete_job if cleanup.job == "delete" else terminate_job
            await end_job(batch, ticket.job_id, lock_id=ticket.lock_id)
    if is_finished and cleanup.inputs == "delete":
        async with blob_service() as service:
            container = service.get_container_client(cleanup.container)
            await delete_inputs(container, ticket.lock_id)


@stage("release")
async def release_nodes(ticket: Ticket, cleanup: Cleanup) -> None:
    """End the run's own pool ahead of all else: its nodes are paid for until then."""
    async with batch_client() as batch:
        await _end_pool(batch, ticket, cleanup)


async def _end_pool(batch: BatchClient, ticket: Ticket, cleanup: Cleanup) -> None:
    if ticket.owns_pool:
        end_pool = delete_pool if cleanup.pool == "delete" else empty_pool
        await end_pool(batch, ticket.pool_id, lock_id=ticket.lock_id)


@stage("predecessor")
async def end_predecessor(predecessor: Mapping[str, str], *, lock_id: str) -> None:
    """End what the last holder of the lock left running: whoever holds the lock may."""
    async with batch_client() as batch:
        if pool_id := predecessor.get("pool"):
            await delete_pool(batch, pool_id, lock_id=lock_id)
        if job_id := predecessor.get("job"):
            await delete_job(batch, job_id, lock_id=lock_id)


async def delete_pool(batch: BatchClient, pool_id: str, *, lock_id: str) -> None:
    async with _unless_gone():
        pool = await batch.get_pool(pool_id, select=["id", "state", "metadata"])
        if is_ours(pool.metadata, lock_id) and pool.state != models.BatchPoolState.DELETING:
            await batch.begin_delete_pool(pool_id)
            logger.info("Deleted the pool %s", pool_id)


async def empty_pool(batch: BatchClient, pool_id: str, *, lock_id: str) -> None:
    """Keep a pool, without its nodes: they would be billed until the deadline."""
    async with _unless_gone():
        pool = await batch.get_pool(pool_id, select=["id", "metadata", "autoScaleFormula"])
        if is_ours(pool.metadata, lock_id) and pool.auto_scale_formula != NO_NODES:
            await shed_nodes(batch, pool_id)
            logger.info("Took all nodes out of the pool %s", pool_id)


async def delete_job(batch: BatchClient, job_id: str, *, lock_id: str) -> None:
    async with _unless_gone():
        job = await batch.get_job(job_id, select=["id", "state", "metadata"])
        if is_ours(job.metadata, lock_id) and job.state != models.BatchJobState.DELETING:
            await batch.begin_delete_job(job_id)
            logger.info("Deleted the job %s", job_id)


async def terminate_job(batch: BatchClient, job_id: str, *, lock_id: str) -> None:
    async with _unless_gone():
        job = await batch.get_job(job_id, select=["id", "metadata"])
        if not is_ours(job.metadata, lock_id):
            return
        # Without options the SDK refuses to terminate, and it does not export their model.
        reason: Any = {"terminateReason": "RunEnded"}
        await batch.begin_terminate_job(job_id, options=reason)


def is_ours(metadata: Iterable[models.BatchMetadataItem] | None, lock_id: str) -> bool:
    tags = read_tags(metadata)
    return (tags.get("owner"), tags.get("lock")) == (OWNER, lock_id)


@asynccontextmanager
async def _unless_gone() -> AsyncIterator[None]:
    """What is gone, or going, needs no more cleaning: 404 and 409."""
    try:
        yield
    except HttpResponseError as error:
        if error.status_code not in (404, 409):
            raise


async def delete_inputs(container: ContainerClient, lock_id: str) -> None:
    """Delete all of ours that lies under the lock, but the lock itself."""
    deleted = 0
    async for names in _own_names(container, lock_id):
        for start in range(0, len(names), DELETIONS_A_REQUEST):
            some = names[start : start + DELETIONS_A_REQUEST]
            # To read what became of each would be a quarter of the work: the next listing tells.
            await container.delete_blobs(*some, raise_on_any_failure=False)
        deleted += len(names)
    async for names in _own_names(container, lock_id):
        for name in names:
            with suppress(ResourceNotFoundError):
                await container.delete_blob(name)  # or says why it cannot be
    logger.info("Deleted %d uploads and logs", deleted)


async def _own_names(container: ContainerClient, lock_id: str) -> AsyncIterator[list[str]]:
    """Page by page."""
    async for page in list_pages(container, f"{lock_id}/"):
        own = [blob.name for blob in page if is_own(blob.metadata)]
        yield [name for name in own if name != lock_blob(lock_id)]
