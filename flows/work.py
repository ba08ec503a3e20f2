"""A run under way: what it was asked to do, and what has come of it so far."""

from dataclasses import dataclass, field

from tasks.azure.nodes import Roster
from tasks.models import BatchResult, Check, Diagnosis, Evidence, Plan, Refusal, Ticket
from tasks.parameters import Request
from tasks.results.ledger import Ledger
from tasks.results.progress import Tally
from tasks.stage import StageLog


@dataclass(kw_only=True)
class Work:
    """A run under way: what it was asked to do, and what has come of it so far."""

    request: Request
    ticket: Ticket
    plan: Plan | None = None
    tally: Tally = field(default_factory=Tally)
    log: StageLog = field(default_factory=StageLog)
    roster: Roster = field(default_factory=Roster)
    refusals: list[Refusal] = field(default_factory=list)
    batch_results: tuple[BatchResult, ...] = ()
    evidence: Evidence | None = None
    diagnosis: Diagnosis | None = None
    is_watched: bool = False  # the watcher looks whether the run is cancelled
    is_fetched: bool = False  # the outputs are in the folder for downloads
    is_settled: bool = False  # what came of each file is known; what is left is to clean up
    checks: tuple[Check, ...] = ()

    def ledger(self, plan: Plan) -> Ledger:
        return Ledger(
            plan=plan,
            request=self.request,
            ticket=self.ticket,
            refusals=tuple(self.refusals),
            batch_results=self.batch_results,
            evidence=self.evidence or Evidence({}, {}, {}),
            diagnosis=self.diagnosis,
            spans=tuple(self.log.spans),
            nodes=self.roster.nodes,
            checks=self.checks,
            is_fetched=self.is_fetched,
        )
