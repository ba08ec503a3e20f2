"""Does a job accept a wall clock of one minute?

A run whose deadline is near asks for one minute, and never for less.
"""

from azure.batch.models import BatchJobConstraints

from bench import Bench, refusal
from tasks.job import LEAST_WALL_CLOCK

WANTED = "accepted"


async def ask(bench: Bench) -> str:
    limit = BatchJobConstraints(max_wall_clock_time=LEAST_WALL_CLOCK)
    return await refusal(bench.job(constraints=limit))
