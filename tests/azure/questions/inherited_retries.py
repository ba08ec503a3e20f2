"""How often does Batch retry a batch task with a retention time, if its job asks for one retry?

The specification says that a batch task with constraints of its own does not take those of its job.
Otherwise the job could ask for retries. Each batch task asks for none, so either answer is safe.
"""

from datetime import timedelta

from azure.batch.models import BatchJobConstraints, BatchTaskConstraints

from bench import Bench

WANTED = "0 retries"


async def ask(bench: Bench) -> str:
    job = await bench.job(constraints=BatchJobConstraints(max_task_retry_count=1))
    own = BatchTaskConstraints(retention_time=timedelta(minutes=5))
    batch_task = await bench.run("exit 1", job=job, constraints=own)
    info = batch_task.execution_info
    return f"{info.retry_count if info else None} retries"
