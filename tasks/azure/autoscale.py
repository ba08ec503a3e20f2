"""Autoscale formulas, which Batch evaluates every five minutes, whatever happens to this process.

They use only the forms in Azure's documentation. As in Microsoft's own formulas, GetSamplePercent
guards GetSample, which may fail while there are no samples:
https://learn.microsoft.com/azure/batch/batch-automatic-scaling

Batch cuts targets to whole numbers, so `(pending + slots - 1) / slots` is rounded up.
"""

from datetime import UTC, datetime, timedelta

from tasks.parameters import Pool

EVALUATION = timedelta(minutes=5)  # the shortest interval that Batch allows
MINUTE = timedelta(minutes=1)
PENDING_MINUTES = 20  # of pending tasks that decide on nodes: longer than pauses between waves
START_UP = PENDING_MINUTES * MINUTE  # for the first files to be uploaded

Lines = tuple[str, ...]  # of a formula; the lines of a demand set `wanted`, a number of nodes
NO_NODES = (
    "$TargetLowPriorityNodes = 0;\n$TargetDedicatedNodes = 0;\n"
    "$NodeDeallocationOption = taskcompletion;"
)


def until_deadline(nodes: int, pool: Pool, *, deadline: datetime, now: datetime) -> Lines:
    """Return a demand for nodes at first, then for as many as the files of the last minutes needed.

    There is none after the deadline. Without any samples, the first number of nodes stays.
    """
    return (
        *needed_nodes(pool, minutes=PENDING_MINUTES, unsampled=nodes * pool.slots_per_node),
        f"starting = time() < {formula_time(now + START_UP)} ? {nodes} : 0;",
        f"wanted = time() < {formula_time(deadline)} ? max(needed, starting) : 0;",
    )


def while_warm(nodes: int, pool: Pool, *, now: datetime) -> Lines:
    """Return a demand for nodes now, then for as many as the files of the last minutes needed.

    Batch may evaluate the formula up to five minutes after a change, so the demand ends five
    minutes early. A pool that receives no files loses its nodes after the same time.
    """
    window = timedelta(minutes=pool.keep_warm_minutes) - EVALUATION
    return (
        *needed_nodes(pool, minutes=window // MINUTE, unsampled=0),
        f"starting = time() < {formula_time(now + window)} ? {nodes} : 0;",
        "wanted = max(needed, starting);",
    )


def needed_nodes(pool: Pool, *, minutes: int, unsampled: int) -> Lines:
    """Return lines that set `needed`: the nodes for the most tasks that were pending at a time.

    `unsampled` is the number of pending tasks that is assumed without samples.
    """
    period, slots = f"{minutes} * TimeInterval_Minute", pool.slots_per_node
    return (
        f"isSampled = $PendingTasks.GetSamplePercent({period}) > 0;",
        f"pending = isSampled ? max($PendingTasks.GetSample({period})) : {unsampled};",
        f"needed = (pending + {slots - 1}) / {slots};",
    )


def scale_formula(demand: Lines, pool: Pool, *, now: datetime) -> str:
    """Return a formula for dedicated nodes, then Spot nodes, then dedicated nodes as a fallback."""
    shortage = spot_shortage(pool, now=now)
    lines = (
        *demand,
        f"dedicated = min({pool.dedicated_nodes}, wanted);",
        f"spot = min({pool.spot_nodes}, wanted - dedicated);",
        *shortage,
        "$TargetLowPriorityNodes = spot;",
        f"$TargetDedicatedNodes = dedicated{' + (isLacking ? spot : 0)' if shortage else ''};",
        "$NodeDeallocationOption = taskcompletion;",
    )
    return "\n".join(lines)


def spot_shortage(pool: Pool, *, now: datetime) -> Lines:
    """Return lines that set `isLacking`: there was no working Spot node for `fallback_minutes`."""
    if not (pool.fallback_minutes and pool.spot_nodes):
        return ()
    minutes = pool.fallback_minutes
    period = f"{minutes} * TimeInterval_Minute"
    lost = f"min($CurrentLowPriorityNodes, $PreemptedNodeCount.GetSample({period}))"
    return (
        # Batch counts evicted nodes as current nodes.
        f"evicted = $PreemptedNodeCount.GetSamplePercent({period}) > 0 ? {lost} : 0;",
        f"isDue = time() >= {formula_time(now + timedelta(minutes=minutes))};",
        "isLacking = isDue && $CurrentLowPriorityNodes <= evicted;",
    )


def next_minute(time: datetime) -> datetime:
    """Round up to a full minute, so that runs that start together demand the same."""
    return (time + MINUTE - timedelta.resolution).replace(second=0, microsecond=0)


def formula_time(time: datetime) -> str:
    return f'time("{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")'
