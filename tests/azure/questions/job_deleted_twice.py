"""What does Batch answer to a second deletion of a job, and to a new job with its id?

Cleanup treats 404 and 409 as done.
"""

from bench import Bench, refusal

WANTED = "409 or 404; JobBeingDeleted or accepted"


async def ask(bench: Bench) -> str:
    job = await bench.job()
    await bench.add(job=job)
    await bench.batch.begin_delete_job(job)
    again = await refusal(bench.batch.begin_delete_job(job))
    anew = await refusal(bench.job(id=job))
    expected = again.startswith(("404 ", "409 ")) and anew in ("409 JobBeingDeleted", "accepted")
    return WANTED if expected else f"{again}; {anew}"
