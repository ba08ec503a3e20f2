"""Does a blob SAS with only `w` permit the upload of a 64 MiB file in blocks?"""

from bench import Bench, batch_result

WANTED = "success; 67108864 bytes"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    url = bench.upload_url(f"{folder}/file")
    outputs = [bench.output("file", path=f"{folder}/file", url=url)]
    ended = batch_result(await bench.run("truncate -s 64M file", output_files=outputs))
    return f"{ended}; {(await bench.sizes(folder)).get('file')} bytes"
