"""Which error is the answer if autoscale is enabled twice within 30 seconds?

The pipeline waits and tries again after this code. After another code, a warm run would fail.
"""

from bench import Bench, refusal
from tasks.azure.autoscale import NO_NODES

WANTED = "503 TooManyEnableAutoScaleRequests"


async def ask(bench: Bench) -> str:
    pool_id = await bench.empty_pool()
    await bench.enable(pool_id, NO_NODES)
    return await refusal(bench.enable(pool_id, f"{NO_NODES} "))
