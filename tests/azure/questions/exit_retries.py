"""Does Batch retry a batch task that asks for no retries and never exits with 0?

We assume that it does not: the run itself decides what it tries again.
"""

from azure.batch.models import BatchTaskConstraints

from bench import Bench, batch_result

WANTED = "FailureExitCode, exit code 65; 0 retries"


async def ask(bench: Bench) -> str:
    batch_task = await bench.run(
        "exit 65", constraints=BatchTaskConstraints(max_task_retry_count=0)
    )
    info = batch_task.execution_info
    return f"{batch_result(batch_task)}; {info.retry_count if info else None} retries"
