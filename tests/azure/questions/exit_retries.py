"""How often does a batch task run whose exit code is never 0 and that has one retry?"""

from azure.batch.models import BatchTaskConstraints

from bench import Bench, batch_result

WANTED = "FailureExitCode, exit code 65; 1 retries"


async def ask(bench: Bench) -> str:
    batch_task = await bench.run(
        "exit 65", constraints=BatchTaskConstraints(max_task_retry_count=1)
    )
    info = batch_task.execution_info
    return f"{batch_result(batch_task)}; {info.retry_count if info else None} retries"
