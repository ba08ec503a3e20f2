"""A run: its ticket, and what is known of it so far."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from prefect import runtime

from tasks.azure.lease import LEASE_SECONDS
from tasks.azure.nodes import Roster
from tasks.claim import RETRY_SECONDS
from tasks.lock import has_predecessor
from tasks.models import (
    BatchResult,
    Check,
    Conversion,
    Diagnosis,
    Evidence,
    Plan,
    Refusal,
    Ticket,
)
from tasks.naming import job_id, lock_id
from tasks.outages import patiently
from tasks.parameters import Request
from tasks.pool import shared_slots, warm_pool_id
from tasks.preflight import NODES
from tasks.results.ledger import Ledger
from tasks.results.progress import Tally
from tasks.slots import with_slots
from tasks.stage import StageLog


@dataclass(kw_only=True)
class RunState:
    """What is known of a run so far. The stages return frozen models; the flow collects them here.

    A run that ends early reports from it how far it came.
    """

    request: Request
    ticket: Ticket
    stages: StageLog = field(default_factory=StageLog)
    checks: tuple[Check, ...] = ()
    plan: Plan | None = None
    tally: Tally = field(default_factory=Tally)
    roster: Roster = field(default_factory=Roster)
    is_watched: bool = False  # while batch tasks run, the watcher looks for a cancellation
    refusals: list[Refusal] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)  # keys that were submitted, and no more is known
    sent: dict[str, int] = field(default_factory=dict)  # bytes, by the key of one conversion
    excerpts: dict[int, set[str]] = field(default_factory=dict)  # as in Excerpts
    batch_results: tuple[BatchResult, ...] = ()
    diagnosis: Diagnosis | None = None
    evidence: Evidence | None = None
    is_ended_by_request: bool = False  # of the command that runs it, which received a signal
    is_cut_short: bool = False  # it was stopped before all files had ended
    is_fetched: bool = False  # the outputs are in the download folder

    @property
    def is_settled(self) -> bool:
        """Whether each file has ended, and it is known how."""
        if self.is_cut_short:
            return False
        return self.evidence is not None or not (self.plan and self.plan.pending)

    @property
    def pending(self) -> tuple[Conversion, ...]:
        return self.plan.pending if self.plan else ()

    def note_results(self, results: tuple[BatchResult, ...]) -> None:
        """Note what Batch knows. Whether an output is there, only storage knows."""
        self.batch_results = results
        self.unread = {result.key for result in results if result.state == "succeeded"}

    def note_evidence(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.unread = set()

    def ledger(self) -> Ledger:
        """Return all that is known, for a report."""
        return Ledger(
            plan=self.plan or Plan((), (), ()),
            request=self.request,
            ticket=self.ticket,
            refusals=tuple(self.refusals),
            batch_results=self.batch_results,
            evidence=self.evidence or Evidence({}, {}, {}),
            unread=frozenset(self.unread),
            diagnosis=self.diagnosis,
            spans=tuple(self.stages.spans),
            nodes=self.roster.nodes,
            checks=self.checks,
            is_fetched=self.is_fetched,
            sent=self.sent,
            excerpts=self.excerpts,
        )


async def settle_pool(run: RunState) -> None:
    """Decide on the slots of nodes, now that the files are known. A shared pool has its own number.

    The request then has the number, and the ticket the id of a warm pool, which depends on it.
    """
    pool = run.request.pool
    if pool.id and not pool.slots_per_node and is_pool_checked(run):
        slots = await patiently(lambda: shared_slots(pool.id))
        pool = pool.model_copy(update={"slots_per_node": slots})
    pool = with_slots(pool, run.pending)
    run.request = run.request.model_copy(update={"pool": pool})
    if pool.keep_warm_minutes:
        name = warm_pool_id(pool, run.request.node, now=run.ticket.started_at)
        run.ticket = replace(run.ticket, pool_id=name)


def is_pool_checked(run: RunState) -> bool:
    """Return whether the check of the pool passed. Otherwise a dry run shows the reason."""
    return all(check.state == "passed" for check in run.checks if check.what == NODES)


def new_run(request: Request) -> RunState:
    """Return the state of the flow run that begins in this context."""
    run_id = uuid.UUID(runtime.flow_run.id).hex
    ticket = issue_ticket(
        request, run_id=run_id, run_count=runtime.flow_run.run_count, now=datetime.now(UTC)
    )
    return RunState(request=request, ticket=ticket)


def issue_ticket(request: Request, *, run_id: str, run_count: int, now: datetime) -> Ticket:
    """Return the names that a run gives. A retry of the same flow run gives new ones.

    The name of a warm pool is not known yet: see `settle_pool`.
    """
    name, pool = job_id(run_id, run_count=run_count), request.pool
    owns_pool = not (pool.id or pool.keep_warm_minutes)
    return Ticket(
        run_id=run_id,
        lock_id=lock_id(request.output.container, request.output.prefix),
        output_container=request.output.container,
        job_id=name,
        pool_id=name if owns_pool else pool.id,
        owns_pool=owns_pool,
        started_at=now,
        deadline=now + timedelta(minutes=request.limits.deadline_minutes),
    )


async def has_work(run: RunState) -> bool:
    """Return whether there is something to convert, or a stopped run to clean up after."""
    if run.plan is None or not (run.plan.pending or run.plan.unprobed):
        return False
    return bool(run.plan.pending) or await patiently(
        lambda: has_predecessor(run.ticket, run.request)
    )


def lock_wait_seconds(run: RunState) -> float:
    """Return how long to wait for the lock: not long, if there is nothing to convert."""
    if run.plan and run.plan.pending:
        return run.request.limits.lock_wait_seconds
    return LEASE_SECONDS + 2 * RETRY_SECONDS
