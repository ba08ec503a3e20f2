"""Are metadata and content type there after an output of 64 MiB, which is uploaded in blocks?

Most outputs are that large. A blob in blocks gets its headers with the list of blocks, not before.
"""

from bench import Bench, batch_result

WANTED = "success; {'convertkey': '0f'} audio/mpeg"
HEADERS = {"x-ms-blob-content-type": "audio/mpeg", "x-ms-meta-convertkey": "0f"}


async def ask(bench: Bench) -> str:
    name = bench.fresh("blob")
    output = bench.output("file", path=name, headers=HEADERS)
    ended = batch_result(await bench.run("truncate -s 64M file", output_files=[output]))
    if ended != "success":
        return ended
    found = await bench.blob(name).get_blob_properties()
    return f"{ended}; {found.metadata} {found.content_settings.content_type}"
