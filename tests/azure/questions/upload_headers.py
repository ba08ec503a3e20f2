"""Do upload headers set a blob's metadata and content type?

The key in the metadata is the only proof that an output is converted.
"""

from bench import Bench

WANTED = "{'convertkey': '0f', 'convertsource': '/a%20b'} audio/mpeg"


async def ask(bench: Bench) -> str:
    name = bench.fresh("blob")
    headers = {
        "x-ms-blob-content-type": "audio/mpeg",
        "x-ms-meta-convertkey": "0f",
        "x-ms-meta-convertsource": "/a%20b",
    }
    await bench.run("echo a >file", output_files=[bench.output("file", path=name, headers=headers)])
    found = await bench.blob(name).get_blob_properties()
    return f"{found.metadata} {found.content_settings.content_type}"
