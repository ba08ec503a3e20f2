"""Which error is the answer if a formula is evaluated twice within 30 seconds?

The pipeline waits and tries again after this code. After another code, a warm run would fail.
"""

from bench import Bench, refusal
from tasks.azure.autoscale import NO_NODES

WANTED = "429 TooManyRequests"


async def ask(bench: Bench) -> str:
    pool_id = await bench.empty_pool()
    await bench.evaluated(pool_id, NO_NODES)
    return await refusal(bench.evaluated(pool_id, NO_NODES))
