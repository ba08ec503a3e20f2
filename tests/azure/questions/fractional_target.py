"""Does Batch cut or round a fractional target, when it evaluates 5/2 nodes and when it sets 0.9?

If it rounded up, formulas with `(pending + slots - 1) / slots` would get a node too many.
"""

from bench import Bench

WANTED = "5/2: $TargetDedicatedNodes=2 $TargetLowPriorityNodes=0, 0.9: 0"


async def ask(bench: Bench) -> str:
    evaluated = await bench.evaluate("$TargetDedicatedNodes = 5/2;")
    pool_id = await bench.empty_pool()
    created = await bench.batch.get_pool(pool_id)
    assert created.last_modified
    await bench.enable(pool_id, "$TargetDedicatedNodes = 0.9;")
    pool = await bench.scaled(pool_id, after=created.last_modified)
    return f"5/2: {evaluated}, 0.9: {pool.target_dedicated_nodes}"
