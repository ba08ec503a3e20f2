"""A blob as a file, by one line of Python: `save_blob("output", "talk.mp3", "talk.mp3")`."""

import asyncio
from pathlib import Path

from tasks.azure.clients import blob_service


def save_blob(container: str, name: str, path: str) -> None:
    """Download a small blob, such as a picture, with the accounts of the environment or `.env`."""
    Path(path).write_bytes(asyncio.run(read_blob(container, name)))


async def read_blob(container: str, name: str) -> bytes:
    async with blob_service() as service:
        stream = await service.get_blob_client(container, name).download_blob()
        return await stream.readall()
