"""Does a node fetch a resource file whose blob has any characters in its name?

Sources that lie in containers are fetched under the names that they have there.
"""

from bench import Bench

WANTED = "content"


async def ask(bench: Bench) -> str:
    file = await bench.resource("content", path="input", name="a b/it's é 100%25 #1+2.mp4")
    return await bench.stdout(await bench.run("cat input", resource_files=[file]))
