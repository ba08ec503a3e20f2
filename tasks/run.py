"""A run: its ticket, and what is known of it so far."""

import uuid
from dataclasses import dataclass, field
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
from tasks.pool import warm_pool_id
from tasks.results.ledger import Ledger
from tasks.results.progress import Tally
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


def new_run(request: Request) -> RunState:
    """Return the state of the flow run that begins in this context."""
    run_id = uuid.UUID(runtime.flow_run.id).hex
    ticket = issue_ticket(
        request, run_id=run_id, run_count=runtime.flow_run.run_count, now=datetime.now(UTC)
    )
    return RunState(request=request, ticket=ticket)


def issue_ticket(request: Request, *, run_id: str, run_count: int, now: datetime) -> Ticket:
    """Return the names that a run gives. A retry of the same flow run gives new ones."""
    name = job_id(run_id, run_count=run_count)
    shared_pool = shared_pool_id(request, now=now)
    return Ticket(
        run_id=run_id,
        lock_id=lock_id(request.output.container, request.output.prefix),
        output_container=request.output.container,
        job_id=name,
        pool_id=shared_pool or name,
        owns_pool=not shared_pool,
        started_at=now,
        deadline=now + timedelta(minutes=request.limits.deadline_minutes),
    )


def shared_pool_id(request: Request, *, now: datetime) -> str:
    """Return the id of the pool that the run shares with others. Empty: it makes its own."""
    if request.pool.keep_warm_minutes:
        return warm_pool_id(request.pool, request.node, now=now)
    return request.pool.id


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
