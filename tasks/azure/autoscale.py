"""Autoscale formulas: Batch evaluates them every five minutes, whatever becomes of us.

They keep to the forms that the examples of Azure's documentation show: a metric's samples stand
beside a number in `min` or `max`, so that it does not matter whether there are any yet.
"""

from datetime import UTC, datetime, timedelta

from tasks.parameters import Pool

EVALUATION = timedelta(minutes=5)  # the least that Batch allows

Lines = tuple[str, ...]  # of a formula; those of a demand set `wanted`, a number of nodes
NO_NODES = (
    "$TargetLowPriorityNodes = 0;\n$TargetDedicatedNodes = 0;\n"
    "$NodeDeallocationOption = taskcompletion;"
)


def until_deadline(nodes: int, *, deadline: datetime) -> Lines:
    """Nodes at once, and none after the deadline."""
    return (f"wanted = time() < {moment(deadline)} ? {nodes} : 0;",)


def while_warm(nodes: int, pool: Pool, *, now: datetime) -> Lines:
    """Nodes at once, then as many as the last minutes' files needed at most.

    Batch may look as late as five minutes after a change: so much sooner than promised is the
    demand forgotten. A pool that waits for files in vain loses its nodes after the same time.
    """
    window = timedelta(minutes=pool.keep_warm_minutes) - EVALUATION
    minutes = window // timedelta(minutes=1)
    return (
        f"pending = max(0, $PendingTasks.GetSample({minutes} * TimeInterval_Minute));",
        f"needed = pending > 0 ? max(1, pending / {pool.slots_per_node}) : 0;",
        f"wanted = max(needed, time() < {moment(now + window)} ? {nodes} : 0);",
    )


def scale_formula(demand: Lines, pool: Pool, *, now: datetime) -> str:
    """Dedicated nodes first, then Spot ones, for which dedicated ones may have to stand in."""
    standing_in = "isLacking ? spot : 0" if pool.fallback_minutes and pool.spot_nodes else "0"
    lines = (
        *demand,
        f"dedicated = min({pool.dedicated_nodes}, wanted);",
        f"spot = min({pool.spot_nodes}, wanted - dedicated);",
        *fallback(pool, now=now),
        "$TargetLowPriorityNodes = spot;",
        f"$TargetDedicatedNodes = dedicated + ({standing_in});",
        "$NodeDeallocationOption = taskcompletion;",
    )
    return "\n".join(lines)


def fallback(pool: Pool, *, now: datetime) -> tuple[str, ...]:
    """`isLacking`: no Spot node has come by then, or all have been evicted for so long."""
    if not (pool.fallback_minutes and pool.spot_nodes):
        return ()
    minutes = pool.fallback_minutes
    period = f"{minutes} * TimeInterval_Minute"
    lost = f"min($CurrentLowPriorityNodes, $PreemptedNodeCount.GetSample({period}))"
    return (
        # Evicted nodes are among the current ones.
        f"evicted = $PreemptedNodeCount.GetSamplePercent({period}) > 0 ? {lost} : 0;",
        f"isDue = time() >= {moment(now + timedelta(minutes=minutes))};",
        "isLacking = isDue && $CurrentLowPriorityNodes <= evicted;",
    )


def moment(time: datetime) -> str:
    return f'time("{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")'
