"""How does a batch task end whose own wall clock runs out?"""

from datetime import timedelta

from azure.batch.models import BatchTaskConstraints

from bench import Bench, batch_result

WANTED = "TaskEnded, exit code None"


async def ask(bench: Bench) -> str:
    limit = BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=1))
    return batch_result(await bench.run("sleep 300", constraints=limit))
