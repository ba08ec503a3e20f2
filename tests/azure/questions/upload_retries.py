"""Does Batch run a batch task again whose upload failed, as it does for an exit code?

We believe not, and make a second attempt of our own.
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
