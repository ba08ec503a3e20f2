"""What does a collection answer to a batch task whose id is taken?

After an answer that was lost, the wave is added again, and this must count as success.
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
