"""Does a container SAS with `w` alone upload a file of 64 MiB, block by block?"""

from bench import Bench, batch_result

WANTED = "success; 67108864 bytes"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    outputs = [bench.output("file", path=f"{folder}/file")]
    ended = batch_result(await bench.run("truncate -s 64M file", output_files=outputs))
    return f"{ended}; {(await bench.sizes(folder)).get('file')} bytes"
