"""Is the path of an output file with a wildcard a folder, into which the name goes?

The marker `seconds-7.013` goes into a folder of logs by the pattern `seconds-*`.
"""

from bench import Bench

WANTED = "['seconds-7.013']"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    outputs = [bench.output("seconds-*", path=folder)]
    await bench.run(": >seconds-7.013", output_files=outputs)
    return str(sorted(await bench.sizes(folder)))
