"""The story of every client, by azure-batch 15's async client: as in `story_15.py`."""

import asyncio
import os
import sys

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from story_15 import TASKS, TIMEOUT_SECONDS, pool


async def wait(client: BatchClient) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while any([task.state != "completed" async for task in client.list_tasks("story")]):
            pass


async def main() -> None:
    key = AzureNamedKeyCredential(
        os.environ["AZURE_BATCH_ACCOUNT"], os.environ["AZURE_BATCH_ACCESS_KEY"]
    )
    async with BatchClient(os.environ["AZURE_BATCH_ENDPOINT"], key) as client:
        await client.create_pool(pool())
        info = models.BatchPoolInfo(pool_id="story")
        await client.create_job(models.BatchJobCreateOptions(id="story", pool_info=info))
        command = "/bin/sh -c 'echo hello from $AZ_BATCH_TASK_ID'"
        await client.create_tasks(
            "story",
            [models.BatchTaskCreateOptions(id=each, command_line=command) for each in TASKS],
        )
        await wait(client)
        for each in TASKS:
            async for chunk in await client.download_task_file("story", each, "stdout.txt"):
                sys.stdout.write(chunk.decode())
        for each in TASKS:
            await client.delete_task("story", each)
        await (await client.begin_delete_job("story", polling_interval=0)).wait()
        await (await client.begin_delete_pool("story", polling_interval=0)).wait()


if __name__ == "__main__":
    asyncio.run(main())
