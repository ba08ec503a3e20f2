"""How does a batch task end whose resource file is not there?

Codes that begin with `Blob` are tried once more by the run.
"""

from bench import Bench, batch_result

WANTED = "BlobNotFound, exit code None"


async def ask(bench: Bench) -> str:
    file = await bench.resource("content", path="input", name="goes")
    await bench.blob("goes").delete_blob()
    return batch_result(await bench.run(resource_files=[file]))
