"""Does the listing of batch tasks accept the filter `state ne 'active'`?

With this filter the watcher lists the completed batch tasks without those that still wait.
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
