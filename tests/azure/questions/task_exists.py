"""What does Batch answer for a batch task in a collection if its id exists?

After a lost response the run adds the wave again, and this result must count as success.
"""

from azure.batch.models import BatchTaskCreateOptions, BatchTaskGroup

from bench import Bench

WANTED = "['clienterror TaskExists', 'success None']"


async def ask(bench: Bench) -> str:
    job, name = await bench.add()
    group = BatchTaskGroup(
        task_values=[
            BatchTaskCreateOptions(id=given, command_line="true") for given in (name, f"{name}-2")
        ]
    )
    answer = await bench.batch.create_task_collection(job, group)
    return str(
        sorted(
            f"{result.status.value} {result.error.code if result.error else None}"
            for result in answer.result_values or ()
        )
    )
