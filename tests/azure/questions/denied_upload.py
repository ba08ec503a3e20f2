"""How does a batch task end that exits with 0 and may not upload?

The result must be a failure, and its code begin with `FileUpload`.
"""

from bench import Bench, batch_result

WANTED = "FileUploadAccessDenied, exit code 0"


async def ask(bench: Bench) -> str:
    url = bench.signer.blob_url(bench.container_name, "file")  # reads, and only that blob
    place, _, token = url.partition("?")
    output = bench.output("file", path="file", url=f"{place.rpartition('/')[0]}?{token}")
    return batch_result(await bench.run("echo a >file", output_files=[output]))
