"""The table of diagnoses: what the watcher may see, what it means, and what to do about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from tasks.azure.explanations import is_code
from tasks.azure.snapshots import Snapshot
from tasks.models import BatchResult, Diagnosis

EMPTY_POOL_SECONDS = 60  # after which to report a pool without nodes and without a resize error
MOST_QUOTA_REFUSALS = 3  # evaluations of a formula, after which a quota error is lasting
Effect = Literal["end", "wait"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. If it matches, the run ends, or it logs the diagnosis once and waits."""

    code: str
    matches: Callable[[Snapshot], bool]
    summary: str
    detail: str  # a format string for the snapshot
    remedy: str
    effect: Effect = "end"


COUNTS = "Files converting: {0.running}, waiting: {0.active}."
SPOT = "Spot cores"
REPORTED = "Batch reports {0.resize_explanation}."
RUN_AGAIN = "Run again to convert the rest."
NO_NODES = "The pool cannot get nodes."
NO_NODES_YET = "The pool has no nodes yet."


def has_resize_error(code: str) -> Callable[[Snapshot], bool]:
    """Return a test whether this resize error is why the pool has no nodes."""
    return lambda s: s.is_stuck and not s.nodes and is_code(code, *s.resize_codes)


def lasting_resize_error(code: str, meaning: str, remedy: str) -> Rule:
    """Return the rule for an error that stays until the user changes something."""
    return Rule(code, has_resize_error(code), NO_NODES, f"{meaning} {REPORTED}", remedy)


def passing_resize_error(code: str, meaning: str, remedy: str) -> Rule:
    """Return the rule for an error that may pass, so that nodes may still come."""
    detail = f"{meaning} {REPORTED}"
    return Rule(code, has_resize_error(code), NO_NODES_YET, detail, remedy, effect="wait")


def quota_errors(code: str, cores: str, other: str) -> tuple[Rule, Rule]:
    """Return the rules for a quota: lasting, or passing while other pools or nodes may help.

    Cores that other runs have just freed are available after a while, so a pool with a formula gets
    several evaluations. Batch does not try again to resize a pool without a formula.
    """

    def may_pass(s: Snapshot) -> bool:
        has_another_try = s.evaluated_at and s.quota_refusals < MOST_QUOTA_REFUSALS
        is_replaced = s.has_fallback and cores == SPOT
        return bool(s.other_nodes or is_replaced or has_another_try)

    detail = f"The account's quota of {cores} is used up. {REPORTED}"
    remedy = f"Request more {cores} in the Azure portal (Quotas), or use {other}."
    return (
        Rule(
            code,
            lambda s: has_resize_error(code)(s) and not may_pass(s),
            NO_NODES,
            detail,
            remedy,
        ),
        Rule(
            code,
            lambda s: has_resize_error(code)(s) and may_pass(s),
            NO_NODES_YET,
            f"{detail} Other pools have {{0.other_nodes}} nodes.",
            "Other runs may have just released cores. The run waits for them, or for the dedicated"
            f" nodes of --pool.fallback-minutes. {remedy}",
            effect="wait",
        ),
    )


def is_long_empty(s: Snapshot) -> bool:
    return s.is_stuck and not s.nodes and s.elapsed_seconds > EMPTY_POOL_SECONDS


TABLE: tuple[Rule, ...] = (
    Rule(
        "Cancelled",
        lambda s: s.is_cancelled,
        "The run was cancelled in Prefect.",
        COUNTS,
        f"{RUN_AGAIN} Converted files are kept.",
    ),
    Rule(
        "DeadlinePassed",
        lambda s: s.seconds_left <= 0,
        "The deadline has passed.",
        COUNTS,
        f"{RUN_AGAIN} Use more nodes or a higher --limits.deadline-minutes.",
    ),
    Rule(
        "NodeHoursSpent",
        lambda s: s.is_spent and not s.running,
        "The limit on node hours is reached.",
        "Node hours used: {0.node_hours:.2f} of {0.max_node_hours:g}. Files waiting: {0.active}.",
        f"{RUN_AGAIN} To convert more in one run, raise --limits.max-node-hours.",
    ),
    Rule(
        "NodeHoursSpent",
        lambda s: s.is_spent,
        "The limit on node hours is reached: no further file starts.",
        COUNTS,
        "The run ends when the files that are converting are done.",
        effect="wait",
    ),
    Rule(
        "JobDeleted",
        lambda s: s.job == "deleted",
        "The job was deleted by another user or program.",
        "",
        RUN_AGAIN,
    ),
    Rule(
        "JobEnded",
        lambda s: s.job == "ended" and not s.running,
        "The job was ended by another user or program.",
        COUNTS,
        RUN_AGAIN,
    ),
    Rule(
        "PoolDeleted",
        lambda s: not s.has_pool,
        "The pool was deleted by another user or program.",
        COUNTS,
        f"{RUN_AGAIN} If the pool is shared, create it again first.",
    ),
    Rule(
        "StartTaskFailed",
        lambda s: s.is_stuck and s.unstarted_nodes > 0 and s.nodes == s.broken_nodes,
        "No node can work: the start task, which installs ffmpeg, failed on all of them.",
        "",  # the watcher adds what a node printed
        "Read what the node printed. If the pool cannot reach the package servers, use an image"
        " that contains ffmpeg.",
    ),
    Rule(
        "NodesUnusable",
        lambda s: s.is_stuck and 0 < s.nodes == s.unusable_nodes,
        "No node can work: Batch reports all of them as unusable.",
        "",  # as above
        "Run again to get new nodes, or choose another --pool.vm-size.",
    ),
    lasting_resize_error(
        "UnsupportedVMSize",
        "Batch does not offer this VM size in the account's region.",
        "Choose another --pool.vm-size.",
    ),
    lasting_resize_error(
        "IncompatibleVMSize",
        "The VM size does not support the pool's image.",
        "Choose another --pool.vm-size.",
    ),
    *quota_errors("AccountCoreQuotaReached", "dedicated cores", "--pool.spot-nodes"),
    *quota_errors(
        "AccountVMSeriesCoreQuotaReached", "cores of this VM series", "another --pool.vm-size"
    ),
    *quota_errors("AccountSpotCoreQuotaReached", SPOT, "--pool.dedicated-nodes"),
    *quota_errors("AccountLowPriorityCoreQuotaReached", SPOT, "--pool.dedicated-nodes"),
    passing_resize_error(
        "AllocationFailed",
        "Azure has no capacity for the nodes.",
        "Batch keeps trying. Another --pool.vm-size may be available sooner.",
    ),
    passing_resize_error(
        "AllocationTimedout",
        "Azure did not find capacity for the nodes in time.",
        "Batch keeps trying. Another --pool.vm-size may be available sooner.",
    ),
    passing_resize_error(
        "ResizeStopped",
        "Another user or program stopped the resize.",
        "Batch resizes the pool again within five minutes.",
    ),
    Rule(
        "FormulaFailed",
        lambda s: bool(s.formula_error) and not s.running and not s.good_nodes,
        "Batch cannot evaluate the pool's autoscale formula, so the pool gets no nodes.",
        "Batch reports {0.formula_error}.",
        "Look at the pool in the Azure portal. Batch tries again every five minutes.",
        effect="wait",
    ),
    Rule(
        "NodesEvicted",
        lambda s: not s.running and s.evicted_nodes > 0 and not s.good_nodes,
        "All Spot nodes are evicted.",
        "Azure returns them when it has capacity.",
        "To use nodes that Azure does not evict, set --pool.dedicated-nodes or"
        " --pool.fallback-minutes.",
        effect="wait",
    ),
    Rule(
        "JobDisabled",
        lambda s: s.job == "disabled" and not s.running,
        "The job was disabled by another user or program.",
        "Files waiting: {0.active}.",
        "Enable the job in the Azure portal, or stop this run.",
        effect="wait",
    ),
    Rule(
        "NoNodes",
        lambda s: is_long_empty(s) and bool(s.resize_codes),
        NO_NODES_YET,
        REPORTED,
        "Look at the pool in the Azure portal.",
        effect="wait",
    ),
    Rule(
        "NoNodes",
        is_long_empty,
        NO_NODES_YET,
        "Batch reports no error.",
        "Look at the pool in the Azure portal.",
        effect="wait",
    ),
    Rule(
        "NoAnswer",
        lambda s: not s.is_answered,
        "Batch does not answer.",
        "Nodes continue to convert.",
        "The run tries again for five minutes.",
        effect="wait",
    ),
    Rule(
        "FormulaNotEvaluated",
        lambda s: s.unevaluated_minutes > 0,
        "Batch does not evaluate the pool's autoscale formula.",
        "The last evaluation was {0.unevaluated_minutes:.0f} minutes ago: Batch has missed two or"
        " more.",
        "Until it does, the pool neither adds nor removes nodes. If this run is killed, delete the"
        " pool in the Azure portal.",
        effect="wait",
    ),
)


def first_match(snapshot: Snapshot, effect: Effect) -> Diagnosis | None:
    rules = (rule for rule in TABLE if rule.effect == effect and rule.matches(snapshot))
    return next((to_diagnosis(rule, snapshot) for rule in rules), None)


def to_diagnosis(rule: Rule, snapshot: Snapshot) -> Diagnosis:
    return Diagnosis(rule.code, rule.summary, rule.detail.format(snapshot), rule.remedy)


def diagnose_wait(snapshot: Snapshot) -> Diagnosis | None:
    """Return why the run has to wait, or None if it makes progress."""
    return first_match(snapshot, "wait")


def diagnose(snapshot: Snapshot) -> Diagnosis | None:
    """Return why the run has to end, or None if it can continue."""
    end, wait = first_match(snapshot, "end"), first_match(snapshot, "wait")
    if end and wait and end.code == "DeadlinePassed":
        detail = f"{end.detail} {wait.summary} {wait.detail}"
        return replace(end, detail=detail, remedy=f"{end.remedy} {wait.remedy}")
    return end


def diagnose_end(snapshot: Snapshot, batch_results: Iterable[BatchResult]) -> Diagnosis | None:
    """Return why batch tasks were ended: by the job's own deadline, or by a user."""
    ended = [r for r in batch_results if is_code(r.code, "TaskEnded")]
    if not ended:
        return None
    converting = sum(batch_result.node is not None for batch_result in ended)
    code = "DeadlinePassed" if snapshot.seconds_left <= 0 else "JobEnded"
    rule = next(rule for rule in TABLE if rule.code == code)
    return to_diagnosis(rule, replace(snapshot, running=converting, active=len(ended) - converting))
