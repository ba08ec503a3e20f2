"""How long may a job's id be: are 64 characters taken and 65 refused?"""

from bench import Bench, refusal

WANTED = "taken; 400 InvalidPropertyValue"


async def ask(bench: Bench) -> str:
    longest = bench.fresh("job").ljust(64, "x")
    taken = await refusal(bench.job(id=longest))
    return f"{taken}; {await refusal(bench.job(id=f'{longest}y'))}"
