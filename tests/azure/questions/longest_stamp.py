"""Does an upload accept the longest stamp that a run writes into an output's metadata?

Blob Storage allows 8 KiB of metadata in total, and a source's percent-encoded path 7,000 of it.
"""

from bench import Bench, batch_result
from tasks.azure.stamps import stamp_metadata
from tasks.media.output_names import LONGEST_LOCATION_BYTES
from tasks.models import Conversion, Source
from tasks.submission import as_headers

WANTED = "success; complete"


async def ask(bench: Bench) -> str:
    name = bench.fresh("blob")
    stamp = longest_stamp()
    output = bench.output("file", path=name, headers=as_headers(stamp))
    ended = batch_result(await bench.run("echo a >file", output_files=[output]))
    if ended != "success":
        return ended
    found = await bench.blob(name).get_blob_properties()
    return f"{ended}; {'complete' if found.metadata == stamp else 'changed'}"


def longest_stamp() -> dict[str, str]:
    location = "/" + "x" * (LONGEST_LOCATION_BYTES - 1)
    etag = '"0x8DE0123456789AB"'
    source = Source("x.mp4", location, size_bytes=1, version=etag, etag=etag)
    return stamp_metadata(Conversion("0" * 32, source, "0" * 64, "x.mp3", "mp4-720p"))
