"""What do the details and `fileuploaderr.txt` contain after a denied upload?

The run adds the details, and the last line of the file without SAS tokens, to the file's reason.
"""

import json
from contextlib import suppress

from bench import Bench
from tasks.azure.explanations import quoted

WANTED = (
    "details: FilePath, ContainerUrl, HttpStatusCode, Reason;"
    " log: code, user_error, pattern, file, destination"
)


async def ask(bench: Bench) -> str:
    url = bench.signer.blob_url(bench.container_name, "file")  # permits reading this blob
    place, _, token = url.partition("?")
    output = bench.output("file", path="file", url=f"{place.rpartition('/')[0]}?{token}")
    job, name = await bench.add("echo a >file", output_files=[output])
    info = (await bench.reached(job, name, state="completed")).execution_info
    failure = info.failure_info if info else None
    details = [str(detail.name) for detail in (failure.details if failure else None) or ()]
    stream = await bench.batch.download_task_file(job, name, "fileuploaderr.txt")
    text = b"".join([chunk async for chunk in stream]).decode()
    return f"details: {', '.join(details)}; log: {shape_of(text)}"


def shape_of(log: str) -> str:
    """Return the names in the last line, or the line itself if it is not JSON."""
    line = log.strip().rpartition("\n")[2]
    with suppress(ValueError):
        return ", ".join(json.loads(line))
    return quoted(line)
