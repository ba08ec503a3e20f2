"""Does Batch upload an output with a SAS that permits writing this blob only, and overwrite it?

Nodes get such a token for each output, in the URL of the container. If Batch refuses it, outputs
need a token for the whole container: then a node that a hostile file has taken over can overwrite
the outputs of others.
"""

from bench import Bench, batch_result

WANTED = "success; success; 4 bytes; FileUploadAccessDenied, exit code 0"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    url = bench.upload_url(f"{folder}/a b/é #1.mp3")
    output = bench.output("file", path=f"{folder}/a b/é #1.mp3", url=url)
    other = bench.output("file", path=f"{folder}/other", url=url)
    first = batch_result(await bench.run("echo a >file", output_files=[output]))
    second = batch_result(await bench.run("echo bcd >file", output_files=[output]))
    denied = batch_result(await bench.run("echo a >file", output_files=[other]))
    size = (await bench.sizes(folder)).get("a b/é #1.mp3")
    return f"{first}; {second}; {size} bytes; {denied}"
