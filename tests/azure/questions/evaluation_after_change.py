"""How soon does Batch evaluate a formula that is set with the pool's present interval?

If it takes five minutes, a run that finds a warm pool without nodes waits so much longer.
"""

from datetime import timedelta

from bench import Bench
from tasks.azure.autoscale import NO_NODES

WANTED = "within 30 seconds"


async def ask(bench: Bench) -> str:
    pool_id = await bench.empty_pool()
    created = await bench.batch.get_pool(pool_id)
    assert created.last_modified
    await bench.enable(pool_id, NO_NODES)
    changed = await bench.batch.get_pool(pool_id)
    assert changed.last_modified
    pool = await bench.scaled(pool_id, after=created.last_modified)
    assert pool.auto_scale_run
    seconds = (pool.auto_scale_run.timestamp - changed.last_modified) / timedelta(seconds=1)
    return WANTED if seconds < 30 else f"after {seconds:.0f} seconds"
