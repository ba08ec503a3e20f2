"""If an output file's pattern has a wildcard, is its path a folder for the matching files?

The pattern `seconds-*` uploads the marker `seconds-7.013` into the folder of logs.
"""

from bench import Bench

WANTED = "['seconds-7.013']"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    outputs = [bench.output("seconds-*", path=folder)]
    await bench.run(": >seconds-7.013", output_files=outputs)
    return str(sorted(await bench.sizes(folder)))
