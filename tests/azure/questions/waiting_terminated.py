"""How does a batch task end that was still waiting when its job was terminated?"""

from typing import Any

from bench import Bench, batch_result

WANTED = "TaskEnded, exit code None"
REASON: Any = {"terminateReason": "Asked"}  # the SDK does not export the model of these options


async def ask(bench: Bench) -> str:
    job = await bench.job(max_parallel_tasks=1)
    first = await bench.add("sleep 300", job=job)
    await bench.reached(*first, state="running")
    second = await bench.add("sleep 300", job=job)
    await bench.batch.begin_terminate_job(job, options=REASON)
    return batch_result(await bench.reached(*second, state="completed"))
