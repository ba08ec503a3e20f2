"""What Azure's autoscale formulas can read about a pool."""

from collections import Counter
from collections.abc import Iterable

from local_azure.batch.history import Metrics
from local_azure.batch.state import Job, Pool


def measure(pool: Pool, jobs: Iterable[Job]) -> Metrics:
    """Return the variables of formulas that count the pool's tasks and nodes."""
    counts: Counter[str] = Counter()
    for job in jobs:
        if job.pool_key == pool.id.lower():
            counts.update(job.counts)
    spot = pool.members(dedicated=False)
    return {
        "$ActiveTasks": counts["active"],
        "$RunningTasks": counts["running"],
        "$PendingTasks": counts["active"] + counts["running"],
        "$SucceededTasks": counts["succeeded"],
        "$FailedTasks": counts["failed"],
        "$CurrentDedicatedNodes": len(pool.members(dedicated=True)),
        "$CurrentLowPriorityNodes": len(spot),
        "$PreemptedNodeCount": sum(node.state == "preempted" for node in spot),
    }
