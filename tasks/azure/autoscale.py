"""Autoscale formulas, which Batch evaluates every five minutes, whatever happens to this process.

They use only the forms in Azure's documentation. A metric's samples appear in `min` or `max` with
a number, so that a formula also works while there are no samples.
"""

from datetime import UTC, datetime, timedelta

from tasks.parameters import Pool

EVALUATION = timedelta(minutes=5)  # the shortest interval that Batch allows

Lines = tuple[str, ...]  # of a formula; the lines of a demand set `wanted`, a number of nodes
NO_NODES = (
    "$TargetLowPriorityNodes = 0;\n$TargetDedicatedNodes = 0;\n"
    "$NodeDeallocationOption = taskcompletion;"
)


def until_deadline(nodes: int, *, deadline: datetime) -> Lines:
    """Return a demand for nodes now and for none after the deadline."""
    return (f"wanted = time() < {formula_time(deadline)} ? {nodes} : 0;",)


def while_warm(nodes: int, pool: Pool, *, now: datetime) -> Lines:
    """Return a demand for nodes now, then for as many as the files of the last minutes needed.

    Batch may evaluate the formula up to five minutes after a change, so the demand ends five
    minutes early. A pool that receives no files loses its nodes after the same time.
    """
    window = timedelta(minutes=pool.keep_warm_minutes) - EVALUATION
    minutes = window // timedelta(minutes=1)
    slots = pool.slots_per_node
    return (
        f"pending = max(0, $PendingTasks.GetSample({minutes} * TimeInterval_Minute));",
        f"needed = (pending + {slots - 1}) / {slots};",  # Batch cuts fractions
        f"wanted = max(needed, time() < {formula_time(now + window)} ? {nodes} : 0);",
    )


def scale_formula(demand: Lines, pool: Pool, *, now: datetime) -> str:
    """Return a formula for dedicated nodes, then Spot nodes, then dedicated nodes as a fallback."""
    fallback = "isLacking ? spot : 0" if pool.fallback_minutes and pool.spot_nodes else "0"
    lines = (
        *demand,
        f"dedicated = min({pool.dedicated_nodes}, wanted);",
        f"spot = min({pool.spot_nodes}, wanted - dedicated);",
        *spot_shortage(pool, now=now),
        "$TargetLowPriorityNodes = spot;",
        f"$TargetDedicatedNodes = dedicated + ({fallback});",
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


def formula_time(time: datetime) -> str:
    return f'time("{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")'
