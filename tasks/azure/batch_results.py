"""The results of batch tasks, as Batch lists them. Its counts can be ahead of the list."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import HttpResponseError

from tasks.azure.api_errors import is_gone
from tasks.azure.explanations import details_of, message_of
from tasks.models import BatchResult
from tasks.naming import key_and_attempt

SELECT = ["id", "state", "creationTime", "executionInfo", "nodeInfo"]
PAGES = 40  # a page has 1/40 of the results, so that buffers stay small beside the results
MIN_PAGE_SIZE, MAX_PAGE_SIZE = 250, 1000  # batch tasks of 5 KB each until they are read


async def has_unfinished(batch: BatchClient, job_id: str) -> bool:
    listing = batch.list_tasks(job_id, filter="state ne 'completed'", select=["id"], max_results=1)
    return await anext(aiter(listing), None) is not None


async def list_results(
    batch: BatchClient, job_id: str, *, page_size: int = MAX_PAGE_SIZE
) -> tuple[BatchResult, ...]:
    """Return the results of all started batch tasks, or none if the job is gone."""
    listing = batch.list_tasks(
        job_id, filter="state ne 'active'", select=SELECT, max_results=page_size
    )
    try:
        return tuple([to_result(batch_task) async for batch_task in listing])
    except HttpResponseError as error:
        if not is_gone(error):
            raise
        return ()


def results_per_page(started: int) -> int:
    """Return the page size for this number of batch tasks."""
    return min(max(MIN_PAGE_SIZE, started // PAGES), MAX_PAGE_SIZE)


def to_result(batch_task: Mapping[str, Any]) -> BatchResult:
    """Return the result of a batch task, which has the fields in SELECT under Batch's names."""
    # The SDK's models parse an attribute again at each access, but not an item.
    key, attempt = key_and_attempt(batch_task["id"])
    info, place = batch_task.get("executionInfo"), batch_task.get("nodeInfo") or {}
    node = place.get("nodeId")
    node = sys.intern(node) if node else None  # one string for all tasks of a node
    added_at = read_time(batch_task.get("creationTime"))
    seen = BatchResult(key, attempt, "running", node=node, added_at=added_at)
    if info is None:
        return seen
    started_at = read_time(info.get("startTime"))
    if batch_task["state"] != models.BatchTaskState.COMPLETED:
        return replace(seen, started_at=started_at)
    ended_at, failure = read_time(info.get("endTime")), info.get("failureInfo") or {}
    # The result counts, not the exit code: it is 0 if only the upload failed.
    is_success = info.get("result") == models.BatchTaskExecutionResult.SUCCESS
    return replace(
        seen,
        state="succeeded" if is_success else "failed",
        exit_code=info.get("exitCode"),
        code=failure.get("code") or "",
        category=failure.get("category") or "",
        message=message_of(failure),
        details=details_of(failure),
        tries=info.get("retryCount", 0) + 1,
        seconds=(ended_at - started_at).total_seconds() if started_at and ended_at else None,
        started_at=started_at,
        ended_at=ended_at,
    )


def read_time(text: str | None) -> datetime | None:
    """Return a time of Batch. Python drops its seventh decimal place."""
    return datetime.fromisoformat(text) if text else None
