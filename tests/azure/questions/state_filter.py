"""Does the listing of batch tasks take the filter `state ne 'active'`?

By it the watcher lists what has come to an end, without what still waits.
"""

from bench import Bench

WANTED = "1 listed"


async def ask(bench: Bench) -> str:
    job = await bench.job()
    await bench.run(job=job)
    chosen = ["id", "state", "executionInfo", "nodeInfo"]
    listing = bench.batch.list_tasks(
        job, filter="state ne 'active'", select=chosen, max_results=1000
    )
    return f"{len([each async for each in listing])} listed"
