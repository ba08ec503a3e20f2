"""Does `list_pool_node_counts` count a pool's only node, under its kind?

The watcher has no other source for whether a pool has nodes.
"""

from bench import Bench

WANTED = "1 node"


async def ask(bench: Bench) -> str:
    await bench.run()
    async for pool in bench.batch.list_pool_node_counts():
        if pool.pool_id == bench.pool_id:
            kinds = [kind for kind in (pool.dedicated, pool.low_priority) if kind]
            return f"{sum(kind.total for kind in kinds)} node"
    return "the pool is not listed"
