"""Does a batch task succeed if its output pattern has a wildcard and matches nothing?

A conversion that fails early leaves no marker. Its result must still be its own exit code.
"""

from bench import Bench, batch_result

WANTED = "success"


async def ask(bench: Bench) -> str:
    outputs = [bench.output("seconds-*", path=bench.fresh("folder"))]
    return batch_result(await bench.run(output_files=outputs))
