"""Does a job take a wall clock of one minute?

It is the least that a run asks for when its deadline is near.
"""

from azure.batch.models import BatchJobConstraints

from bench import Bench, refusal
from tasks.job import LEAST_WALL_CLOCK

WANTED = "taken"


async def ask(bench: Bench) -> str:
    limit = BatchJobConstraints(max_wall_clock_time=LEAST_WALL_CLOCK)
    return await refusal(bench.job(constraints=limit))
