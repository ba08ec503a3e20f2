"""Does the listing of nodes accept the filter `state eq 'starttaskfailed'`?"""

from bench import Bench

WANTED = "0 listed"


async def ask(bench: Bench) -> str:
    await bench.run()
    listing = bench.batch.list_nodes(
        bench.pool_id, filter="state eq 'starttaskfailed'", select=["id"]
    )
    return f"{len([each async for each in listing])} listed"
