"""The watcher: it alone looks at the deadline, the job, the pool and its nodes."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import AzureError
from prefect import task

from tasks.cancellation import CANCELLED, Cancellation
from tasks.clients import batch_client
from tasks.models import Diagnosis, Outcome, Ticket
from tasks.naming import key_and_attempt
from tasks.progress import Progress, Tally, publish, seconds_left
from tasks.stage import STAGE

QUICKEST_POLL_SECONDS = 0.25
SLOWEST_POLL_SECONDS = 15.0
PAGE = 1000  # the most that Batch lists at once
SELECT = ["id", "state", "executionInfo", "nodeInfo"]
TAIL_BYTES = 2000
CLOSED = (
    models.BatchJobState.TERMINATING,
    models.BatchJobState.COMPLETED,
    models.BatchJobState.DELETING,
)
SERVICE_FAULTS = ("Blob", "FileUpload", "Node", "DiskFull")  # how the codes of Batch's faults begin
QUOTA_CODES = {
    "AccountCoreQuotaReached": "Ask for more dedicated cores in the Azure portal (Quotas).",
    "AccountSpotCoreQuotaReached": "Ask for more Spot cores in the Azure portal (Quotas).",
    "AccountLowPriorityCoreQuotaReached": "Ask for more Spot cores in the Azure portal (Quotas).",
}
FATAL_RESIZE_CODES = QUOTA_CODES | {
    "UnsupportedVMSize": "Choose another pool.vm_size: this region does not offer it to Batch.",
}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look at the job and its pool showed."""

    active: int
    running: int
    succeeded: int
    failed: int
    nodes: int = 0
    broken_nodes: int = 0  # whose start task failed, or that Batch cannot use
    is_steady: bool = False  # the pool is not being resized
    is_open: bool = True  # the job takes and runs batch tasks
    resize_codes: tuple[str, ...] = ()
    other_nodes: int = 0  # of the account's other pools

    @property
    def completed(self) -> int:
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class Ending:
    """How the watch ended. Without a diagnosis, all batch tasks came to their own end."""

    outcomes: tuple[Outcome, ...]
    diagnosis: Diagnosis | None


@task(name="completion", **STAGE)
async def watch_completion(ticket: Ticket, tally: Tally) -> Ending:
    """Watch until all that was submitted is completed, or cannot be any more."""
    started_at = datetime.now(UTC)
    cancellation = Cancellation()
    told: set[str] = set()
    async with batch_client() as batch:
        while True:
            sighting = await look(batch, ticket)
            now = datetime.now(UTC)
            elapsed_seconds = (now - started_at).total_seconds()
            publish(to_progress(sighting, tally, elapsed_seconds=elapsed_seconds))
            if is_complete(sighting, tally):
                outcomes = await list_outcomes(batch, ticket.job_id)
                if is_settled(outcomes, tally):
                    return Ending(outcomes, diagnose_end(outcomes, ticket=ticket, now=now))
            if await cancellation.is_wanted(now_seconds=elapsed_seconds):
                return Ending(await list_outcomes(batch, ticket.job_id), CANCELLED)
            if diagnosis := diagnose(sighting, ticket=ticket, now=now):
                diagnosis = await with_words_of_nodes(batch, ticket, diagnosis)
                return Ending(await list_outcomes(batch, ticket.job_id), diagnosis)
            tell_shortage(sighting, told)
            await asyncio.sleep(poll_seconds(elapsed_seconds))


def tell_shortage(sighting: Sighting, told: set[str]) -> None:
    """Say once why there is no node yet."""
    if sighting.nodes or not sighting.is_steady:
        return
    for code in set(sighting.resize_codes) - told:
        others = f"; other pools have {sighting.other_nodes}" if sighting.other_nodes else ""
        logger.warning("Waiting for nodes: Batch says %s%s", code, others)
        told.add(code)


def poll_seconds(elapsed_seconds: float) -> float:
    """A tenth of the time waited so far: quick for a short run, cheap for a long one."""
    return min(max(QUICKEST_POLL_SECONDS, elapsed_seconds / 10), SLOWEST_POLL_SECONDS)


def is_complete(sighting: Sighting, tally: Tally) -> bool:
    return tally.is_closed and sighting.completed >= tally.submitted


def is_settled(outcomes: Iterable[Outcome], tally: Tally) -> bool:
    """Task counts can run ahead of the truth by seconds: the list decides."""
    return sum(outcome.state != "running" for outcome in outcomes) >= tally.submitted


def diagnose(sighting: Sighting, *, ticket: Ticket, now: datetime) -> Diagnosis | None:
    """Why there is nothing left to wait for; None while there is."""
    if now >= ticket.deadline:
        return deadline_passed(converting=sighting.running, waiting=sighting.active)
    if not sighting.is_open and not sighting.running:
        return job_ended(converting=0, waiting=sighting.active)
    if not sighting.is_steady or sighting.running:
        return None
    if 0 < sighting.nodes == sighting.broken_nodes:
        return Diagnosis(
            "StartTaskFailed",
            "No node can work: the start task, which installs ffmpeg, failed on all of them.",
            "",
            "Read what it printed; a pool without a way to the package servers needs an image"
            " that has ffmpeg.",
        )
    for code in sighting.resize_codes:
        if sighting.other_nodes and code in QUOTA_CODES:
            continue  # others will let go of theirs
        if not sighting.nodes and code in FATAL_RESIZE_CODES:
            return Diagnosis(
                code, "The pool cannot get any node.", f"Batch says {code}.",
                FATAL_RESIZE_CODES[code],
            )  # fmt: skip
    return None


def diagnose_end(outcomes: Iterable[Outcome], *, ticket: Ticket, now: datetime) -> Diagnosis | None:
    """Why batch tasks were ended, by the job's own wall clock or by hand, before this looked."""
    ended = [outcome for outcome in outcomes if outcome.code == "TaskEnded"]
    if not ended:
        return None
    converting = sum(outcome.node is not None for outcome in ended)
    diagnosis = deadline_passed if now >= ticket.deadline else job_ended
    return diagnosis(converting=converting, waiting=len(ended) - converting)


def deadline_passed(*, converting: int, waiting: int) -> Diagnosis:
    return Diagnosis(
        "DeadlinePassed",
        "The deadline has passed.",
        f"{converting} files were converting and {waiting} waiting.",
        "Run again for the rest, with more nodes or a later --limits.deadline-minutes.",
    )


def job_ended(*, converting: int, waiting: int) -> Diagnosis:
    return Diagnosis(
        "JobEnded",
        "The job was ended by somebody else.",
        f"{converting} files were converting and {waiting} waiting.",
        "Run again for the rest.",
    )


async def look(batch: BatchClient, ticket: Ticket) -> Sighting:
    """Task counts, the job, and the pool with its nodes: a waiting batch task has none to ask."""
    counts = (await batch.get_job_task_counts(ticket.job_id)).task_counts
    job = await batch.get_job(ticket.job_id, select=["state"])
    pool = await batch.get_pool(ticket.pool_id, select=["allocationState", "resizeErrors"])
    nodes, other_nodes = await count_nodes(batch, ticket.pool_id)
    return Sighting(
        active=counts.active,
        running=counts.running,
        succeeded=counts.succeeded,
        failed=counts.failed,
        nodes=sum(n.total for n in nodes),
        broken_nodes=sum(n.start_task_failed + n.unusable for n in nodes),
        is_open=job.state not in CLOSED,
        is_steady=pool.allocation_state == models.AllocationState.STEADY,
        resize_codes=tuple(error.code or "" for error in pool.resize_errors or ()),
        other_nodes=other_nodes,
    )


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


def to_progress(sighting: Sighting, tally: Tally, *, elapsed_seconds: float) -> Progress:
    # Files of a second attempt are handed in twice, and their first failure does not count.
    again = max(0, tally.submitted + tally.refused - tally.files)
    return Progress(
        files=tally.files,
        converted=sighting.succeeded,
        failed=max(0, sighting.failed + tally.refused - again),
        running=sighting.running,
        nodes=sighting.nodes,
        seconds_left=seconds_left(
            files=tally.files,
            finished=sighting.completed + tally.refused - again,
            elapsed_seconds=elapsed_seconds,
        ),
    )


async def list_outcomes(batch: BatchClient, job_id: str) -> tuple[Outcome, ...]:
    """All batch tasks that have been started."""
    listing = batch.list_tasks(job_id, filter="state ne 'active'", select=SELECT, max_results=PAGE)
    return tuple([to_outcome(batch_task) async for batch_task in listing])


def to_outcome(batch_task: models.BatchTask) -> Outcome:
    key, attempt = key_and_attempt(batch_task.id)
    info = batch_task.execution_info
    if batch_task.state != models.BatchTaskState.COMPLETED or info is None:
        return Outcome(key, attempt, "running")
    failure = info.failure_info
    # An exit code of 0 whose upload failed is a failure: the result tells, not the code.
    is_success = info.result == models.BatchTaskExecutionResult.SUCCESS
    return Outcome(
        key,
        attempt,
        "succeeded" if is_success else "failed",
        exit_code=info.exit_code,
        code=(failure.code if failure else None) or "",
        message=(failure.message if failure else None) or "",
        node=batch_task.node_info.node_id if batch_task.node_info else None,
        tries=info.retry_count + 1,
        seconds=duration_seconds(info),
    )


def duration_seconds(info: models.BatchTaskExecutionInfo) -> float | None:
    if not info.start_time or not info.end_time:
        return None
    return (info.end_time - info.start_time).total_seconds()


def is_service_fault(outcome: Outcome) -> bool:
    """Whether a transfer or the node failed, which Batch does not try again by itself."""
    return outcome.state == "failed" and outcome.code.startswith(SERVICE_FAULTS)


async def with_words_of_nodes(
    batch: BatchClient, ticket: Ticket, diagnosis: Diagnosis
) -> Diagnosis:
    """A failed start task's own last words, while its node is still there."""
    if diagnosis.code != "StartTaskFailed":
        return diagnosis
    nodes = batch.list_nodes(ticket.pool_id, filter="state eq 'starttaskfailed'", select=["id"])
    async for node in nodes:
        return replace(diagnosis, detail=await read_start_words(batch, ticket.pool_id, node.id))
    return diagnosis


async def read_start_words(batch: BatchClient, pool_id: str, node_id: str) -> str:
    try:
        stream = await batch.download_node_file(pool_id, node_id, "startup/stderr.txt")
        text = b"".join([chunk async for chunk in stream])
    except AzureError:
        return f"What node {node_id} printed cannot be read any more."
    return f"Node {node_id} printed: {text[-TAIL_BYTES:].decode(errors='replace').strip()}"
