"""What does a warm pool's autoscale formula, which reads samples, set while no task waits?

The formula must not fail while samples are missing, or the pool would keep its size.
"""

from datetime import UTC, datetime

from bench import Bench
from tasks.azure.autoscale import scale_formula, while_warm
from tasks.parameters import Pool

WANTED = "$TargetDedicatedNodes=2 $TargetLowPriorityNodes=3"
POOL = Pool(
    spot_nodes=3,
    dedicated_nodes=2,
    slots_per_node=2,
    keep_warm_minutes=30,
    fallback_minutes=20,
)


async def ask(bench: Bench) -> str:
    now = datetime.now(UTC)
    return await bench.evaluate(scale_formula(while_warm(5, POOL, now=now), POOL, now=now))
