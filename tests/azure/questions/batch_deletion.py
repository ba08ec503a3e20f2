"""May one request delete several blobs if the user has a role on their container only?

Cleanup deletes uploads and logs so. The request is for the container, not for the account.
"""

from bench import Bench

WANTED = "202 202; 0 left"


async def ask(bench: Bench) -> str:
    folder = bench.fresh("folder")
    blobs = [bench.blob(f"{folder}/{name}") for name in "ab"]
    for blob in blobs:
        await blob.upload_blob(b"")
    answers = await bench.container.delete_blobs(*(str(blob.blob_name) for blob in blobs))
    statuses = " ".join([str(answer.status_code) async for answer in answers])
    return f"{statuses}; {len(await bench.sizes(folder))} left"
