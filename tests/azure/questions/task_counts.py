"""Do task counts know of a batch task as soon as it is completed?

They are said to lag; the watcher lists before it believes them.
"""

from bench import Bench

WANTED = "at once"


async def ask(bench: Bench) -> str:
    job = await bench.job()
    await bench.run(job=job)
    counts = (await bench.batch.get_job_task_counts(job)).task_counts
    return "at once" if counts.completed == counts.succeeded == 1 else "later"
