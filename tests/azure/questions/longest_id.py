"""How long may a job's id be: does Batch accept 64 characters and refuse 65?"""

from bench import Bench, refusal

WANTED = "accepted; 400 InvalidPropertyValue"


async def ask(bench: Bench) -> str:
    longest = bench.fresh("job").ljust(64, "x")
    first = await refusal(bench.job(id=longest))
    return f"{first}; {await refusal(bench.job(id=f'{longest}y'))}"
