"""Does a value of 4,000 characters pass as metadata in an upload header?

A source's path is one, percent-encoded; Blob Storage takes 8 KiB of metadata in all.
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
