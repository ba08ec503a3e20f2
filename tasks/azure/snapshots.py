"""What the watcher sees of a run's job, its pool and its nodes: one request for each."""

from dataclasses import replace
from typing import Any

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import HttpResponseError

from tasks.azure.clients import is_gone
from tasks.models import Ticket
from tasks.results.diagnosis import Sighting

JOB_STATES: dict[Any, Any] = {
    models.BatchJobState.DISABLING: "disabled",
    models.BatchJobState.DISABLED: "disabled",
    models.BatchJobState.TERMINATING: "ended",
    models.BatchJobState.COMPLETED: "ended",
    models.BatchJobState.DELETING: "deleted",
}


async def see_counts(batch: BatchClient, ticket: Ticket, sighting: Sighting) -> Sighting:
    try:
        counts = (await batch.get_job_task_counts(ticket.job_id)).task_counts
    except HttpResponseError as error:
        if not is_gone(error):
            raise
        return replace(sighting, job="deleted")
    return replace(
        sighting,
        active=counts.active,
        running=counts.running,
        succeeded=counts.succeeded,
        failed=counts.failed,
    )


async def survey(batch: BatchClient, ticket: Ticket, sighting: Sighting) -> Sighting:
    """The nodes; and what may tell why nothing runs: the pool without them, the job with them."""
    sighting = await see_nodes(batch, ticket, sighting)
    if not sighting.good_nodes:
        return await see_pool(batch, ticket, sighting)
    return sighting if sighting.running else await see_job(batch, ticket, sighting)


async def see_nodes(batch: BatchClient, ticket: Ticket, sighting: Sighting) -> Sighting:
    nodes, other_nodes = await count_nodes(batch, ticket.pool_id)
    return replace(
        sighting,
        nodes=sum(n.total for n in nodes),
        unstarted_nodes=sum(n.start_task_failed for n in nodes),
        unusable_nodes=sum(n.unusable for n in nodes),
        evicted_nodes=sum(n.preempted for n in nodes),
        other_nodes=other_nodes,
    )


async def see_pool(batch: BatchClient, ticket: Ticket, sighting: Sighting) -> Sighting:
    try:
        pool = await batch.get_pool(
            ticket.pool_id, select=["state", "allocationState", "resizeErrors"]
        )
    except HttpResponseError as error:
        if not is_gone(error):
            raise
        return replace(sighting, has_pool=False)
    return replace(
        sighting,
        has_pool=pool.state != models.BatchPoolState.DELETING,
        is_steady=pool.allocation_state == models.AllocationState.STEADY,
        resize_codes=tuple(error.code or "" for error in pool.resize_errors or ()),
    )


async def see_job(batch: BatchClient, ticket: Ticket, sighting: Sighting) -> Sighting:
    try:
        job = await batch.get_job(ticket.job_id, select=["state"])
    except HttpResponseError as error:
        if not is_gone(error):
            raise
        return replace(sighting, job="deleted")
    return replace(sighting, job=JOB_STATES.get(job.state, "open"))


async def count_nodes(batch: BatchClient, pool_id: str) -> tuple[list[models.BatchNodeCounts], int]:
    """The pool's nodes by state, dedicated and Spot; and how many all other pools have."""
    own: list[models.BatchNodeCounts] = []
    others = 0
    async for pool in batch.list_pool_node_counts():
        kinds = [kind for kind in (pool.dedicated, pool.low_priority) if kind]
        if pool.pool_id == pool_id:
            own += kinds
        else:
            others += sum(kind.total for kind in kinds)
    return own, others
