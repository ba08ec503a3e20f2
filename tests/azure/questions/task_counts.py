"""Do task counts include a batch task as soon as it is completed?

Azure's documentation says that they lag. The watcher confirms them by a listing.
"""

from bench import Bench

WANTED = "immediately"


async def ask(bench: Bench) -> str:
    job = await bench.job()
    await bench.run(job=job)
    counts = (await bench.batch.get_job_task_counts(job)).task_counts
    return "immediately" if counts.completed == counts.succeeded == 1 else "later"
