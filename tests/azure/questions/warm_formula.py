"""How does Batch evaluate the formula of a warm pool, which reads samples, while nothing waits?

Samples that are not there yet must not make it fail, or the pool keeps what it has.
"""

from datetime import UTC, datetime

from bench import Bench
from tasks.azure.autoscale import scale_formula, while_warm
from tasks.parameters import Pool

WANTED = "$TargetDedicatedNodes=2 $TargetLowPriorityNodes=3"
POOL = Pool(spot_nodes=3, dedicated_nodes=2, keep_warm_minutes=30, fallback_minutes=20)


async def ask(bench: Bench) -> str:
    now = datetime.now(UTC)
    return await bench.evaluate(scale_formula(while_warm(5, POOL, now=now), POOL, now=now))
