"""The state of a run's job, pool and nodes, with one request for each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import HttpResponseError

from tasks.azure.api_errors import is_gone
from tasks.azure.autoscale import EVALUATION, MINUTE
from tasks.azure.explanations import explanation, is_quota_error
from tasks.models import Ticket

OF_POOL = [
    "state",
    "creationTime",
    "allocationState",
    "allocationStateTransitionTime",
    "resizeErrors",
    "enableAutoScale",
    "autoScaleEvaluationInterval",
    "autoScaleRun",
]
JOB_STATES: dict[Any, Any] = {
    models.BatchJobState.DISABLING: "disabled",
    models.BatchJobState.DISABLED: "disabled",
    models.BatchJobState.TERMINATING: "ended",
    models.BatchJobState.COMPLETED: "ended",
    models.BatchJobState.DELETING: "deleted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The known state of a run's job, pool and nodes. The defaults are those of a healthy run."""

    seconds_left: float  # until the deadline
    elapsed_seconds: float = 0
    is_cancelled: bool = False  # in Prefect
    is_answered: bool = True  # Batch responds
    active: int = 0  # waiting batch tasks
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    job: Literal["open", "disabled", "ended", "deleted"] = "open"
    has_pool: bool = True
    is_steady: bool = False  # the pool is not being resized
    resize_codes: tuple[str, ...] = ()
    resize_explanation: str = ""  # Batch's, of the resize errors
    formula_error: str = ""  # why Batch cannot evaluate the pool's formula
    evaluated_at: datetime | None = None  # last evaluation of the formula; None: no formula
    quota_refusals: int = 0  # evaluations in a row after which a quota prevented all nodes
    nodes: int = 0
    unstarted_nodes: int = 0  # whose start task failed
    unusable_nodes: int = 0  # in Batch's judgement
    evicted_nodes: int = 0  # which Batch lists until they come back
    other_nodes: int = 0  # in the account's other pools
    has_fallback: bool = False  # dedicated nodes replace missing Spot nodes
    unevaluated_minutes: float = 0  # since the pool's formula was evaluated, if that is overdue
    node_hours: float = 0  # paid so far
    max_node_hours: float = 0  # 0: no limit

    @property
    def is_spent(self) -> bool:
        return 0 < self.max_node_hours <= self.node_hours

    @property
    def counts(self) -> tuple[int, ...]:
        return self.active, self.running, self.succeeded, self.failed

    @property
    def completed(self) -> int:
        return self.succeeded + self.failed

    @property
    def started(self) -> int:
        return self.running + self.completed

    @property
    def broken_nodes(self) -> int:
        return self.unstarted_nodes + self.unusable_nodes

    @property
    def good_nodes(self) -> int:
        """The nodes that work or will soon."""
        return self.nodes - self.broken_nodes - self.evicted_nodes

    @property
    def is_stuck(self) -> bool:
        """Nothing converts, and Batch is not changing the pool."""
        return self.is_steady and not self.running and not self.good_nodes


async def observe_counts(batch: BatchClient, ticket: Ticket, snapshot: Snapshot) -> Snapshot:
    try:
        counts = (await batch.get_job_task_counts(ticket.job_id)).task_counts
    except HttpResponseError as error:
        if not is_gone(error):
            raise
        return replace(snapshot, job="deleted")
    return replace(
        snapshot,
        active=counts.active,
        running=counts.running,
        succeeded=counts.succeeded,
        failed=counts.failed,
    )


async def survey(batch: BatchClient, ticket: Ticket, snapshot: Snapshot) -> Snapshot:
    """Observe the nodes and, if nothing runs, the pool or the job: the cause is in one of them.

    Once a formula can be overdue, also observe the pool while all is well.
    """
    snapshot = await observe_nodes(batch, ticket, snapshot)
    if not snapshot.good_nodes:
        return await observe_pool(batch, ticket, snapshot)
    snapshot = replace(snapshot, quota_refusals=0)
    if snapshot.elapsed_seconds > (2 * EVALUATION).total_seconds():
        snapshot = await observe_pool(batch, ticket, snapshot)
    return snapshot if snapshot.running else await observe_job(batch, ticket, snapshot)


async def observe_nodes(batch: BatchClient, ticket: Ticket, snapshot: Snapshot) -> Snapshot:
    nodes, other_nodes = await count_nodes(batch, ticket.pool_id)
    return replace(
        snapshot,
        nodes=sum(n.total for n in nodes),
        unstarted_nodes=sum(n.start_task_failed for n in nodes),
        unusable_nodes=sum(n.unusable for n in nodes),
        evicted_nodes=sum(n.preempted for n in nodes),
        other_nodes=other_nodes,
    )


async def observe_pool(batch: BatchClient, ticket: Ticket, snapshot: Snapshot) -> Snapshot:
    try:
        pool = await batch.get_pool(ticket.pool_id, select=OF_POOL)
    except HttpResponseError as error:
        if not is_gone(error):
            raise
        return replace(snapshot, has_pool=False)
    errors = resize_errors(pool, ticket)
    snapshot = replace(
        snapshot,
        has_pool=pool.state != models.BatchPoolState.DELETING,
        is_steady=pool.allocation_state == models.AllocationState.STEADY,
        resize_codes=tuple(error.code or "" for error in errors),
        resize_explanation="; ".join(explanation(error) for error in errors),
        unevaluated_minutes=unevaluated_minutes(pool, now=datetime.now(UTC)),
    )
    return note_evaluation(snapshot, pool.auto_scale_run)


def resize_errors(pool: models.BatchPool, ticket: Ticket) -> Sequence[models.ResizeError]:
    """Return the errors of the last resize, unless it ended before the run: they stay for days.

    https://github.com/nextflow-io/nextflow/pull/7312
    """
    ended_at = pool.allocation_state_transition_time
    is_old = not ticket.owns_pool and ended_at is not None and ended_at < ticket.started_at
    return () if is_old else pool.resize_errors or ()


def note_evaluation(snapshot: Snapshot, evaluation: models.AutoScaleRun | None) -> Snapshot:
    """Note the last evaluation of the pool's formula, and count it if a quota prevented nodes."""
    if evaluation is None or not snapshot.is_steady:  # the resize after it has not ended yet
        return snapshot
    is_refused = not snapshot.nodes and any(map(is_quota_error, snapshot.resize_codes))
    is_new = evaluation.timestamp != snapshot.evaluated_at
    return replace(
        snapshot,
        evaluated_at=evaluation.timestamp,
        quota_refusals=snapshot.quota_refusals + is_new if is_refused else 0,
        formula_error=explanation(evaluation.error) if evaluation.error else "",
    )


def unevaluated_minutes(pool: models.BatchPool, *, now: datetime) -> float:
    """Return the minutes since Batch evaluated the pool's formula, if it missed two evaluations."""
    interval = pool.auto_scale_evaluation_interval
    if not (pool.enable_auto_scale and interval and pool.creation_time):
        return 0
    run = pool.auto_scale_run
    elapsed = now - (run.timestamp if run else pool.creation_time)
    return elapsed / MINUTE if elapsed > 2 * interval + MINUTE else 0


async def observe_job(batch: BatchClient, ticket: Ticket, snapshot: Snapshot) -> Snapshot:
    try:
        job = await batch.get_job(ticket.job_id, select=["state"])
    except HttpResponseError as error:
        if not is_gone(error):
            raise
        return replace(snapshot, job="deleted")
    return replace(snapshot, job=JOB_STATES.get(job.state, "open"))


async def count_nodes(batch: BatchClient, pool_id: str) -> tuple[list[models.BatchNodeCounts], int]:
    """Return the pool's node counts by state (dedicated and Spot), and the nodes of other pools."""
    own: list[models.BatchNodeCounts] = []
    others = 0
    async for pool in batch.list_pool_node_counts():
        kinds = [kind for kind in (pool.dedicated, pool.low_priority) if kind]
        if pool.pool_id == pool_id:
            own += kinds
        else:
            others += sum(kind.total for kind in kinds)
    return own, others
