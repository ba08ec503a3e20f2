"""The cleanup of what a run created. It touches only what has the run's tags."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.blob.aio import (
    BlobClient,
    BlobLeaseClient,
    BlobServiceClient,
    ContainerClient,
)

from tasks.azure.api_errors import is_ended
from tasks.azure.autoscale import NO_NODES
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.listing import list_pages
from tasks.azure.scaling import set_formula, try_formula
from tasks.azure.tags import read_tags
from tasks.models import Ticket
from tasks.naming import OWNER, is_own, log_container, record_blob
from tasks.parameters import Cleanup
from tasks.stage import stage

# Blob Storage accepts 256 per request. Azurite serves no other request meanwhile, and 256 took it
# half a minute on a busy machine: as long as the lock's lease. Two runs that delete at the same
# time must need less than half of that.
DELETIONS_PER_REQUEST = 50
logger = logging.getLogger(__name__)


@stage("cleanup")
async def clean_up(ticket: Ticket, cleanup: Cleanup, *, is_finished: bool) -> None:
    """End the job and the pool. If the run is finished, also delete its uploads and logs."""
    async with batch_client() as batch:
        # A pool that is kept may be resized, which may wait for the job's running conversions.
        is_job_first = cleanup.pool == "keep"
        first, second = (_end_job, _end_pool) if is_job_first else (_end_pool, _end_job)
        try:
            await first(batch, ticket, cleanup)
        finally:  # end the second one even if the first one cannot be ended
            await second(batch, ticket, cleanup)
    if is_finished and cleanup.inputs == "delete":
        async with blob_service() as service:
            await delete_uploads(service, cleanup.container, lock_id=ticket.lock_id)


@stage("release")
async def release_nodes(ticket: Ticket, cleanup: Cleanup) -> None:
    """End the run's own pool before the rest of the cleanup: its nodes cost money until then.

    If Batch refuses for now to empty a pool that is kept, only the cleanup waits for it.
    """
    async with batch_client() as batch:
        if ticket.owns_pool and cleanup.pool == "keep":
            await try_formula(batch, ticket.pool_id, NO_NODES)
        else:
            await _end_pool(batch, ticket, cleanup)


async def _end_pool(batch: BatchClient, ticket: Ticket, cleanup: Cleanup) -> None:
    if ticket.owns_pool:
        end_pool = delete_pool if cleanup.pool == "delete" else empty_pool
        await end_pool(batch, ticket.pool_id, lock_id=ticket.lock_id)


async def _end_job(batch: BatchClient, ticket: Ticket, cleanup: Cleanup) -> None:
    end_job = delete_job if cleanup.job == "delete" else terminate_job
    await end_job(batch, ticket.job_id, lock_id=ticket.lock_id)


@stage("predecessor")
async def end_predecessor(predecessor: Mapping[str, str], *, lock_id: str) -> None:
    """End the job and the pool that the last holder of the lock left running."""
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
    """Keep a pool but remove its nodes, which would be billed until the deadline."""
    async with _unless_gone():
        pool = await batch.get_pool(pool_id, select=["id", "metadata"])
        if is_ours(pool.metadata, lock_id):
            await set_formula(batch, pool_id, NO_NODES)
            logger.info("Removed all nodes from the pool %s", pool_id)


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
        # The SDK requires options here, and does not export their model.
        reason: Any = {"terminateReason": "RunEnded"}
        await batch.begin_terminate_job(job_id, options=reason)


def is_ours(metadata: Iterable[models.BatchMetadataItem] | None, lock_id: str) -> bool:
    tags = read_tags(metadata)
    return (tags.get("owner"), tags.get("lock")) == (OWNER, lock_id)


@asynccontextmanager
async def _unless_gone() -> AsyncIterator[None]:
    """Ignore that a job or pool is gone, ended or being deleted: it needs no cleanup."""
    try:
        yield
    except HttpResponseError as error:
        if not is_ended(error):
            raise


async def delete_uploads(service: BlobServiceClient, container: str, *, lock_id: str) -> None:
    """Delete the logs of nodes, then the uploads of runs: `sweep` finds both by the latter."""
    logs = service.get_container_client(log_container(container))
    deleted = 0
    with suppress(ResourceNotFoundError):  # earlier versions did not create this container
        deleted += await _delete_own(
            logs, lock_id, delete_one=lambda name: _delete_log(logs.get_blob_client(name))
        )
    uploads = service.get_container_client(container)
    deleted += await _delete_own(uploads, lock_id, delete_one=uploads.delete_blob)
    logger.info("Deleted %d uploads and logs", deleted)


async def _delete_own(
    container: ContainerClient, lock_id: str, *, delete_one: Callable[[str], Awaitable[None]]
) -> int:
    """Delete all blobs under the lock that runs created, except the record. Return how many.

    `delete_one` deletes a blob that the request for many did not delete, or raises the reason.
    """
    deleted = 0
    async for names in _own_names(container, lock_id):
        for start in range(0, len(names), DELETIONS_PER_REQUEST):
            some = names[start : start + DELETIONS_PER_REQUEST]
            # Reading each result would be a quarter of the work. The listing below finds failures.
            await container.delete_blobs(*some, raise_on_any_failure=False)
        deleted += len(names)
    async for names in _own_names(container, lock_id):
        for name in names:
            with suppress(ResourceNotFoundError):
                await delete_one(name)
    return deleted


async def _delete_log(blob: BlobClient) -> None:
    """Delete a blob that a node could write, so it could also lease it and make snapshots."""
    with suppress(ResourceExistsError):  # it has no lease
        await BlobLeaseClient(blob).break_lease(lease_break_period=0)
    await blob.delete_blob(delete_snapshots="include")


async def _own_names(container: ContainerClient, lock_id: str) -> AsyncIterator[list[str]]:
    """Yield the names in pages."""
    async for page in list_pages(container, f"{lock_id}/"):
        own = [blob.name for blob in page if is_own(blob.metadata)]
        yield [name for name in own if name != record_blob(lock_id)]
