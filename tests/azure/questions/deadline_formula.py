"""What does the autoscale formula that ends a pool set after its deadline?

After a kill -9, only this formula ends the pool's nodes.
"""

from datetime import UTC, datetime

from bench import Bench
from tasks.azure.autoscale import scale_formula, until_deadline
from tasks.parameters import Pool

WANTED = "$TargetDedicatedNodes=0 $TargetLowPriorityNodes=0"
PAST = datetime(2020, 1, 1, tzinfo=UTC)
POOL = Pool(dedicated_nodes=2, slots_per_node=2)


async def ask(bench: Bench) -> str:
    demand = until_deadline(5, POOL, deadline=PAST, now=PAST)
    return await bench.evaluate(scale_formula(demand, POOL, now=PAST))
