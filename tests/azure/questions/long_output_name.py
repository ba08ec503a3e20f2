"""May an output's path have 1,000 characters?

A blob's name may have 1,024; outputs mirror the paths of their sources.
"""

from bench import Bench, batch_result

WANTED = "success"


async def ask(bench: Bench) -> str:
    path = "/".join([bench.fresh("folder"), *["x" * 200] * 4]).ljust(1000, "y")
    return batch_result(
        await bench.run("echo a >file", output_files=[bench.output("file", path=path)])
    )
