"""How far each batch task came, as Batch lists it: the list decides, not the counts."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import HttpResponseError

from tasks.azure.api_errors import is_gone
from tasks.models import BatchResult
from tasks.naming import key_and_attempt

SELECT = ["id", "state", "creationTime", "executionInfo", "nodeInfo"]
PAGES = 40  # a page is a fortieth of the results: buffers stay small beside what is kept of it
LEAST_A_PAGE, MOST_A_PAGE = 250, 1000  # batch tasks of 5 KB each until they are read
SERVICE_FAULTS = ("Blob", "FileUpload", "Node", "DiskFull")  # how the codes of Batch's faults begin


async def has_unfinished(batch: BatchClient, job_id: str) -> bool:
    listing = batch.list_tasks(job_id, filter="state ne 'completed'", select=["id"], max_results=1)
    return await anext(aiter(listing), None) is not None


async def list_results(
    batch: BatchClient, job_id: str, *, a_page: int = MOST_A_PAGE
) -> tuple[BatchResult, ...]:
    """All batch tasks that have been started; none where the job is gone."""
    listing = batch.list_tasks(
        job_id, filter="state ne 'active'", select=SELECT, max_results=a_page
    )
    try:
        return tuple([to_result(batch_task) async for batch_task in listing])
    except HttpResponseError as error:
        if not is_gone(error):
            raise
        return ()


def results_a_page(started: int) -> int:
    """For so many batch tasks. Those that are in a hurry ask for as many as Batch lists."""
    return min(max(LEAST_A_PAGE, started // PAGES), MOST_A_PAGE)


def to_result(batch_task: Mapping[str, Any]) -> BatchResult:
    """Out of a batch task by Batch's own names of its fields, those in SELECT."""
    # As attributes the SDK's models parse them anew at each access.
    key, attempt = key_and_attempt(batch_task["id"])
    info, place = batch_task.get("executionInfo"), batch_task.get("nodeInfo") or {}
    node = place.get("nodeId")
    node = sys.intern(node) if node else None  # one text for a node, however many tasks it ran
    added_at = read_time(batch_task.get("creationTime"))
    seen = BatchResult(key, attempt, "running", node=node, added_at=added_at)
    if info is None:
        return seen
    started_at = read_time(info.get("startTime"))
    if batch_task["state"] != models.BatchTaskState.COMPLETED:
        return replace(seen, started_at=started_at)
    ended_at, failure = read_time(info.get("endTime")), info.get("failureInfo") or {}
    # An exit code of 0 whose upload failed is a failure: the result tells, not the code.
    is_success = info.get("result") == models.BatchTaskExecutionResult.SUCCESS
    return replace(
        seen,
        state="succeeded" if is_success else "failed",
        exit_code=info.get("exitCode"),
        code=failure.get("code") or "",
        message=failure.get("message") or "",
        tries=info.get("retryCount", 0) + 1,
        seconds=(ended_at - started_at).total_seconds() if started_at and ended_at else None,
        started_at=started_at,
        ended_at=ended_at,
    )


def read_time(text: str | None) -> datetime | None:
    """A time as Batch writes it."""
    # In ten millionths of a second, of which Python keeps millionths.
    return datetime.fromisoformat(text) if text else None


def is_service_fault(batch_result: BatchResult) -> bool:
    """Whether a transfer or the node failed, which Batch does not try again by itself."""
    return batch_result.state == "failed" and batch_result.code.startswith(SERVICE_FAULTS)
