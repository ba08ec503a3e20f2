"""Does a node upload an empty output file?

The runner reports the seconds that it wrote in the name of an empty file.
"""

from bench import Bench

WANTED = "{'empty': 0}"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    await bench.run(": >empty", output_files=[bench.output("empty", path=f"{folder}/empty")])
    return str(await bench.sizes(folder))
