"""How far each batch task came, as Batch lists it: the list decides, not the counts."""

import sys
from dataclasses import replace

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import HttpResponseError

from tasks.clients import is_gone
from tasks.models import Outcome
from tasks.naming import key_and_attempt
from tasks.paging import page_size

SELECT = ["id", "state", "creationTime", "executionInfo", "nodeInfo"]
LEAST_A_PAGE, MOST_A_PAGE = 250, 1000  # batch tasks of 5 KB each until they are read
SERVICE_FAULTS = ("Blob", "FileUpload", "Node", "DiskFull")  # how the codes of Batch's faults begin


async def has_unfinished(batch: BatchClient, job_id: str) -> bool:
    listing = batch.list_tasks(job_id, filter="state ne 'completed'", select=["id"], max_results=1)
    return await anext(aiter(listing), None) is not None


async def list_outcomes(
    batch: BatchClient, job_id: str, *, a_page: int = MOST_A_PAGE
) -> tuple[Outcome, ...]:
    """All batch tasks that have been started; none where the job is gone."""
    listing = batch.list_tasks(
        job_id, filter="state ne 'active'", select=SELECT, max_results=a_page
    )
    try:
        return tuple([to_outcome(batch_task) async for batch_task in listing])
    except HttpResponseError as error:
        if not is_gone(error):
            raise
        return ()


def results_a_page(started: int) -> int:
    """For so many batch tasks. Those that are in a hurry ask for as many as Batch lists."""
    return page_size(started, least=LEAST_A_PAGE, most=MOST_A_PAGE)


def to_outcome(batch_task: models.BatchTask) -> Outcome:
    """Reads each field once: the SDK parses it anew each time."""
    key, attempt = key_and_attempt(batch_task.id)
    info, place = batch_task.execution_info, batch_task.node_info
    node = place.node_id if place else None
    node = sys.intern(node) if node else None  # one text for a node, however many tasks it ran
    seen = Outcome(key, attempt, "running", node=node, added_at=batch_task.creation_time)
    if info is None:
        return seen
    started_at = info.start_time
    if batch_task.state != models.BatchTaskState.COMPLETED:
        return replace(seen, started_at=started_at)
    ended_at, failure = info.end_time, info.failure_info
    # An exit code of 0 whose upload failed is a failure: the result tells, not the code.
    is_success = info.result == models.BatchTaskExecutionResult.SUCCESS
    return replace(
        seen,
        state="succeeded" if is_success else "failed",
        exit_code=info.exit_code,
        code=(failure.code if failure else None) or "",
        message=(failure.message if failure else None) or "",
        tries=info.retry_count + 1,
        seconds=(ended_at - started_at).total_seconds() if started_at and ended_at else None,
        started_at=started_at,
        ended_at=ended_at,
    )


def is_service_fault(outcome: Outcome) -> bool:
    """Whether a transfer or the node failed, which Batch does not try again by itself."""
    return outcome.state == "failed" and outcome.code.startswith(SERVICE_FAULTS)
