"""Does Batch retry a batch task after a failed upload, as it does after an exit code?

We assume that it does not, so the run makes a second attempt itself.
"""

from azure.batch.models import BatchTaskConstraints

from bench import Bench

WANTED = "0 retries"


async def ask(bench: Bench) -> str:
    batch_task = await bench.run(
        output_files=[bench.output("output.mp3", path="never")],
        constraints=BatchTaskConstraints(max_task_retry_count=1),
    )
    info = batch_task.execution_info
    return f"{info.retry_count if info else None} retries"
