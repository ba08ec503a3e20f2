"""Does a container SAS with only `w` permit creating and overwriting a blob?

Nodes write their logs with it, and get no other permission there. A retried batch task overwrites
the blobs of its first attempt.
"""

from bench import Bench, batch_result

WANTED = "success; success; 4 bytes"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    outputs = [bench.output("file", path=f"{folder}/file")]
    first = batch_result(await bench.run("echo a >file", output_files=outputs))
    second = batch_result(await bench.run("echo bcd >file", output_files=outputs))
    return f"{first}; {second}; {(await bench.sizes(folder)).get('file')} bytes"
