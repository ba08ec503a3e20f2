"""Does a batch task succeed whose output pattern with a wildcard matches nothing?

A conversion that fails early leaves no marker; its own exit code must be what is reported.
"""

from bench import Bench, batch_result

WANTED = "success"


async def ask(bench: Bench) -> str:
    outputs = [bench.output("seconds-*", path=bench.fresh("folder"))]
    return batch_result(await bench.run(output_files=outputs))
