"""Does an upload header accept a metadata value of 4,000 characters?

A source's percent-encoded path is such a value. Blob Storage allows 8 KiB of metadata in total.
"""

from bench import Bench, batch_result

WANTED = "success; 4000 characters"


async def ask(bench: Bench) -> str:
    name = bench.fresh("blob")
    output = bench.output("file", path=name, headers={"x-ms-meta-long": "x" * 4000})
    ended = batch_result(await bench.run("echo a >file", output_files=[output]))
    if ended != "success":
        return ended
    found = await bench.blob(name).get_blob_properties()
    return f"{ended}; {len(found.metadata['long'])} characters"
