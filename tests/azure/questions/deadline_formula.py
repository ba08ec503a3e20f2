"""How does Batch evaluate the formula by which a pool ends at its deadline?

It is all that ends a pool's nodes after a kill -9.
"""

from datetime import UTC, datetime

from bench import Bench
from tasks.azure.autoscale import scale_formula, until_deadline
from tasks.parameters import Pool

WANTED = "$TargetDedicatedNodes=0 $TargetLowPriorityNodes=0"
PAST = datetime(2020, 1, 1, tzinfo=UTC)


async def ask(bench: Bench) -> str:
    demand = until_deadline(5, deadline=PAST)
    return await bench.evaluate(scale_formula(demand, Pool(dedicated_nodes=2), now=PAST))
