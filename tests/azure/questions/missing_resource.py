"""How does a batch task end if its resource file does not exist?

The run retries once after a code that begins with `Blob`.
"""

from bench import Bench, batch_result

WANTED = "BlobNotFound, exit code None"


async def ask(bench: Bench) -> str:
    file = await bench.resource("content", path="input", name="deleted")
    await bench.blob("deleted").delete_blob()
    return batch_result(await bench.run(resource_files=[file]))
