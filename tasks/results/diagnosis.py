"""What is seen of a run, what it means, and what to do about it: one table, read from the top."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from tasks.azure.snapshots import Snapshot
from tasks.models import BatchResult, Diagnosis

STRANGE_SECONDS = 60  # after these, a pool without nodes that gives no reason is told
Does = Literal["end", "wait"]


@dataclass(frozen=True, slots=True)
class Row:
    """Where it `is_seen`, the run ends; or it says so once, and waits."""

    code: str
    is_seen: Callable[[Snapshot], bool]
    summary: str
    detail: str  # with the snapshot's fields in braces
    remedy: str
    does: Does = "end"


FILES = "{0.running} converting, {0.active} waiting."
SPOT = "Spot cores"
RUN_AGAIN = "Run again for the rest."


def says(code: str) -> Callable[[Snapshot], bool]:
    """Whether this resize error is why the pool has no nodes."""
    return lambda s: s.is_stuck and not s.nodes and code in s.resize_codes


def refused(code: str, meaning: str, remedy: str) -> Row:
    """No node will ever come."""
    summary = "The pool cannot get any node."
    return Row(code, says(code), summary, f"Batch says {code}: {meaning}.", remedy)


def at_quota(code: str, cores: str, other: str) -> tuple[Row, Row]:
    """The account may have no more, unless others let go of theirs or other nodes stand in."""

    def is_passing(s: Snapshot) -> bool:
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
        "",  # a node's own words; see `with_node_errors`
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


def find(snapshot: Snapshot, does: Does) -> Diagnosis | None:
    rows = (row for row in TABLE if row.does == does and row.is_seen(snapshot))
    return next((fill(row, snapshot) for row in rows), None)


def fill(row: Row, snapshot: Snapshot) -> Diagnosis:
    return Diagnosis(row.code, row.summary, row.detail.format(snapshot), row.remedy)


def diagnose_wait(snapshot: Snapshot) -> Diagnosis | None:
    """Why it takes so long; None where nothing is strange."""
    return find(snapshot, "wait")


def diagnose(snapshot: Snapshot) -> Diagnosis | None:
    """Why there is nothing left to wait for; None while there is."""
    end, wait = find(snapshot, "end"), find(snapshot, "wait")
    if end and wait and end.code == "DeadlinePassed":
        detail = f"{end.detail} {wait.summary} {wait.detail}"
        return replace(end, detail=detail, remedy=f"{end.remedy} {wait.remedy}")
    return end


def diagnose_end(snapshot: Snapshot, batch_results: Iterable[BatchResult]) -> Diagnosis | None:
    """Why batch tasks were ended, by the job's own wall clock or by hand, before this was seen."""
    ended = [batch_result for batch_result in batch_results if batch_result.code == "TaskEnded"]
    if not ended:
        return None
    converting = sum(batch_result.node is not None for batch_result in ended)
    code = "DeadlinePassed" if snapshot.seconds_left <= 0 else "JobEnded"
    row = next(row for row in TABLE if row.code == code)
    return fill(row, replace(snapshot, running=converting, active=len(ended) - converting))
