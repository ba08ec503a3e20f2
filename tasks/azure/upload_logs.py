"""The node's logs of failed uploads, which say more than the errors of the batch tasks.

They are gone when Batch has deleted the node or the task's folder.
https://learn.microsoft.com/azure/batch/batch-task-output-files#diagnose-file-upload-errors
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from azure.batch.aio import BatchClient
from azure.core.exceptions import AzureError

from tasks.azure.explanations import join_details, quoted
from tasks.concurrency import map_concurrently
from tasks.models import BatchResult
from tasks.naming import batch_task_id

LOG = "fileuploaderr.txt"  # beside stdout.txt
MOST_LOGS = 20  # to read: if more uploads fail, they fail for the same reasons
AT_ONCE = 8
READ_SECONDS = 10  # for one log: nodes that wait for it cost money


async def with_upload_logs(
    batch: BatchClient, job_id: str, batch_results: Iterable[BatchResult]
) -> tuple[BatchResult, ...]:
    """Add the log of each failed upload to the details of its batch task."""
    batch_results = tuple(batch_results)
    failed = failed_uploads(batch_results)[:MOST_LOGS]

    async def read(batch_result: BatchResult) -> BatchResult:
        log = await read_log(batch, job_id, batch_result)
        details = filter(None, (batch_result.details, join_details([(LOG, log)])))
        return replace(batch_result, details=", ".join(details))

    found = dict(zip(failed, await map_concurrently(read, failed, at_once=AT_ONCE), strict=True))
    return tuple([found.get(each, each) for each in batch_results]) if found else batch_results


def failed_uploads(batch_results: Iterable[BatchResult]) -> list[BatchResult]:
    """Return the last attempts whose uploads failed."""
    ordered = sorted(batch_results, key=lambda batch_result: batch_result.attempt)
    last = {batch_result.key: batch_result for batch_result in ordered}
    return [each for each in last.values() if each.code.lower().startswith("fileupload")]


async def read_log(batch: BatchClient, job_id: str, batch_result: BatchResult) -> str:
    """Return the last line of the log, or nothing if it is gone."""
    name = batch_task_id(batch_result.key, batch_result.attempt)
    try:
        async with asyncio.timeout(READ_SECONDS):
            stream = await batch.download_task_file(job_id, name, LOG)
            text = b"".join([chunk async for chunk in stream]).decode(errors="replace")
    except (AzureError, TimeoutError):
        return ""
    return quoted(text.strip().rpartition("\n")[2])
