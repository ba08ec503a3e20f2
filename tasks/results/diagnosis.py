"""What is seen of a run, what it means, and what to do about it: one table, read from the top."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from tasks.models import Diagnosis, Outcome

STRANGE_SECONDS = 60  # after these, a pool without nodes that gives no reason is told
Does = Literal["end", "wait"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What is known of a run's job, its pool and its nodes; what was not asked is as one hopes."""

    seconds_left: float  # until the deadline
    elapsed_seconds: float = 0
    is_cancelled: bool = False  # in Prefect
    is_answered: bool = True  # by Batch
    active: int = 0  # batch tasks that wait
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    job: Literal["open", "disabled", "ended", "deleted"] = "open"
    has_pool: bool = True
    is_steady: bool = False  # the pool is not being resized
    resize_codes: tuple[str, ...] = ()
    nodes: int = 0
    unstarted_nodes: int = 0  # whose start task failed
    unusable_nodes: int = 0  # by Batch
    evicted_nodes: int = 0  # listed until they come back
    other_nodes: int = 0  # of the account's other pools
    has_fallback: bool = False  # dedicated nodes stand in for Spot ones that do not come
    node_hours: float = 0  # that have been paid for
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
    def reason(self) -> str:
        return " and ".join(self.resize_codes) or "nothing of why"

    @property
    def broken_nodes(self) -> int:
        return self.unstarted_nodes + self.unusable_nodes

    @property
    def good_nodes(self) -> int:
        """Those that work, or are about to."""
        return self.nodes - self.broken_nodes - self.evicted_nodes

    @property
    def is_stuck(self) -> bool:
        """Nothing converts, and Batch does nothing to change that."""
        return self.is_steady and not self.running and not self.good_nodes


@dataclass(frozen=True, slots=True)
class Row:
    """Where it `is_seen`, the run ends; or it says so once, and waits."""

    code: str
    is_seen: Callable[[Sighting], bool]
    summary: str
    detail: str  # with the sighting's fields in braces
    remedy: str
    does: Does = "end"


FILES = "{0.running} converting, {0.active} waiting."
SPOT = "Spot cores"
RUN_AGAIN = "Run again for the rest."


def says(code: str) -> Callable[[Sighting], bool]:
    """Whether this resize error is why the pool has no nodes."""
    return lambda s: s.is_stuck and not s.nodes and code in s.resize_codes


def refused(code: str, meaning: str, remedy: str) -> Row:
    """No node will ever come."""
    summary = "The pool cannot get any node."
    return Row(code, says(code), summary, f"Batch says {code}: {meaning}.", remedy)


def at_quota(code: str, cores: str, other: str) -> tuple[Row, Row]:
    """The account may have no more, unless others let go of theirs or other nodes stand in."""

    def is_passing(s: Sighting) -> bool:
        return s.other_nodes > 0 or (s.has_fallback and cores == SPOT)

    detail = f"Batch says {code}: the account may have no more {cores}"
    remedy = f"Ask for more {cores} in the Azure portal (Quotas), or use {other}."
    return (
        Row(
            code,
            lambda s: says(code)(s) and not is_passing(s),
            "The pool cannot get any node.",
            f"{detail}.",
            remedy,
        ),
        Row(
            code,
            lambda s: says(code)(s) and is_passing(s),
            "The pool has no node yet.",
            f"{detail}; other pools have {{0.other_nodes}} nodes.",
            f"It gets some when those end, or others stand in. {remedy}",
            does="wait",
        ),
    )


def short(code: str, meaning: str, remedy: str) -> Row:
    """Nodes may still come."""
    summary = "The pool has no node yet."
    return Row(code, says(code), summary, f"Batch says {code}: {meaning}.", remedy, does="wait")


TABLE: tuple[Row, ...] = (
    Row(
        "Cancelled",
        lambda s: s.is_cancelled,
        "The run was cancelled in Prefect.",
        FILES,
        "Run again for the rest: what is converted stays.",
    ),
    Row(
        "DeadlinePassed",
        lambda s: s.seconds_left <= 0,
        "The deadline has passed.",
        FILES,
        "Run again for the rest, with more nodes or a later --limits.deadline-minutes.",
    ),
    Row(
        "NodeHoursSpent",
        lambda s: s.is_spent and not s.running,
        "The limit on node hours is reached.",
        "{0.node_hours:.2f} of {0.max_node_hours:g} node hours are used; {0.active} waiting.",
        "Run again for the rest, with a higher --limits.max-node-hours if need be.",
    ),
    Row(
        "NodeHoursSpent",
        lambda s: s.is_spent,
        "The limit on node hours is reached: nothing new starts.",
        FILES,
        "What converts is finished.",
        does="wait",
    ),
    Row(
        "JobDeleted",
        lambda s: s.job == "deleted",
        "The job was deleted by somebody else.",
        "",
        RUN_AGAIN,
    ),
    Row(
        "JobEnded",
        lambda s: s.job == "ended" and not s.running,
        "The job was ended by somebody else.",
        FILES,
        RUN_AGAIN,
    ),
    Row(
        "PoolDeleted",
        lambda s: not s.has_pool,
        "The pool was deleted by somebody else.",
        FILES,
        f"{RUN_AGAIN} A shared pool must be made again first.",
    ),
    Row(
        "StartTaskFailed",
        lambda s: s.is_stuck and s.unstarted_nodes > 0 and s.nodes == s.broken_nodes,
        "No node can work: the start task, which installs ffmpeg, failed on all of them.",
        "",  # a node's own words; see `with_words_of_nodes`
        "Read what it printed; a pool without a way to the package servers needs an image that has"
        " ffmpeg.",
    ),
    Row(
        "NodesUnusable",
        lambda s: s.is_stuck and 0 < s.nodes == s.unusable_nodes,
        "No node can work: Batch cannot use any of them.",
        "",
        "Run again, which takes new nodes; or try another --pool.vm-size.",
    ),
    refused(
        "UnsupportedVMSize",
        "this region does not offer the size to Batch",
        "Choose another --pool.vm-size.",
    ),
    refused(
        "IncompatibleVMSize",
        "the size does not go with the pool's image",
        "Choose another --pool.vm-size.",
    ),
    *at_quota("AccountCoreQuotaReached", "dedicated cores", "--pool.spot-nodes"),
    *at_quota("AccountVMSeriesCoreQuotaReached", "cores of this series", "another --pool.vm-size"),
    *at_quota("AccountSpotCoreQuotaReached", SPOT, "--pool.dedicated-nodes"),
    *at_quota("AccountLowPriorityCoreQuotaReached", SPOT, "--pool.dedicated-nodes"),
    short(
        "AllocationFailed",
        "Azure has no room for the nodes",
        "It goes on trying; another --pool.vm-size may be had sooner.",
    ),
    short(
        "AllocationTimedOut",
        "Azure has not found room for the nodes in time",
        "It goes on trying; another --pool.vm-size may be had sooner.",
    ),
    short("ResizeStopped", "somebody stopped the resizing", "It goes on within five minutes."),
    Row(
        "NodesEvicted",
        lambda s: not s.running and s.evicted_nodes > 0 and not s.good_nodes,
        "All Spot nodes are evicted.",
        "Azure gives them back when it has room.",
        "Dedicated nodes are never evicted: --pool.dedicated-nodes, --pool.fallback-minutes.",
        does="wait",
    ),
    Row(
        "JobDisabled",
        lambda s: s.job == "disabled" and not s.running,
        "The job was disabled by somebody else.",
        "{0.active} waiting.",
        "Enable it, or stop this run.",
        does="wait",
    ),
    Row(
        "NoNodes",
        lambda s: s.is_stuck and not s.nodes and s.elapsed_seconds > STRANGE_SECONDS,
        "The pool has no node yet.",
        "Batch says {0.reason}.",
        "Look at the pool in the Azure portal.",
        does="wait",
    ),
    Row(
        "NoAnswer",
        lambda s: not s.is_answered,
        "Batch does not answer.",
        "What converts goes on.",
        "The run asks again for five minutes.",
        does="wait",
    ),
)


def find(sighting: Sighting, does: Does) -> Diagnosis | None:
    rows = (row for row in TABLE if row.does == does and row.is_seen(sighting))
    return next((fill(row, sighting) for row in rows), None)


def fill(row: Row, sighting: Sighting) -> Diagnosis:
    return Diagnosis(row.code, row.summary, row.detail.format(sighting), row.remedy)


def diagnose_wait(sighting: Sighting) -> Diagnosis | None:
    """Why it takes so long; None where nothing is strange."""
    return find(sighting, "wait")


def diagnose(sighting: Sighting) -> Diagnosis | None:
    """Why there is nothing left to wait for; None while there is."""
    end, wait = find(sighting, "end"), find(sighting, "wait")
    if end and wait and end.code == "DeadlinePassed":
        detail = f"{end.detail} {wait.summary} {wait.detail}"
        return replace(end, detail=detail, remedy=f"{end.remedy} {wait.remedy}")
    return end


def diagnose_end(sighting: Sighting, outcomes: Iterable[Outcome]) -> Diagnosis | None:
    """Why batch tasks were ended, by the job's own wall clock or by hand, before this was seen."""
    ended = [outcome for outcome in outcomes if outcome.code == "TaskEnded"]
    if not ended:
        return None
    converting = sum(outcome.node is not None for outcome in ended)
    code = "DeadlinePassed" if sighting.seconds_left <= 0 else "JobEnded"
    row = next(row for row in TABLE if row.code == code)
    return fill(row, replace(sighting, running=converting, active=len(ended) - converting))
