"""What does Batch answer to the termination of a completed job?"""

from typing import Any

from azure.batch.models import BatchJob

from bench import Bench, refusal

WANTED = "409 JobCompleted"
REASON: Any = {"terminateReason": "Asked"}  # the SDK does not export the model of these options


async def ask(bench: Bench) -> str:
    job = await bench.job()
    await bench.batch.begin_terminate_job(job, options=REASON)

    async def look() -> BatchJob | None:
        found = await bench.batch.get_job(job)
        return found if found.state == "completed" else None

    await bench.until(look)
    return await refusal(bench.batch.begin_terminate_job(job, options=REASON))
