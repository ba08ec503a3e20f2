"""Does a node fetch a resource file with any characters in its blob's name?

Nodes fetch the sources in containers by their original names.
"""

from bench import Bench

WANTED = "content"


async def ask(bench: Bench) -> str:
    file = await bench.resource("content", path="input", name="a b/it's é 100%25 #1+2.mp4")
    return await bench.stdout(await bench.run("cat input", resource_files=[file]))
