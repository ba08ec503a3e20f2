"""The story of every client, by azure-batch 15: run tasks, print their output, delete all."""

import os
import sys
import time
from collections.abc import Callable

from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential

TASKS = ("t0", "t1", "t2")
TIMEOUT_SECONDS = 30


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not look():
        assert time.monotonic() < deadline, "timeout"


def pool() -> models.BatchPoolCreateOptions:
    image = models.BatchVmImageReference(
        publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
    )
    return models.BatchPoolCreateOptions(
        id="story",
        vm_size="Standard_D2ds_v5",
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
        ),
        target_dedicated_nodes=1,
    )


def main() -> None:
    key = AzureNamedKeyCredential(
        os.environ["AZURE_BATCH_ACCOUNT"], os.environ["AZURE_BATCH_ACCESS_KEY"]
    )
    with BatchClient(os.environ["AZURE_BATCH_ENDPOINT"], key) as client:
        client.create_pool(pool())
        info = models.BatchPoolInfo(pool_id="story")
        client.create_job(models.BatchJobCreateOptions(id="story", pool_info=info))
        command = "/bin/sh -c 'echo hello from $AZ_BATCH_TASK_ID'"
        client.create_tasks(
            "story",
            [models.BatchTaskCreateOptions(id=each, command_line=command) for each in TASKS],
        )
        until(lambda: all(task.state == "completed" for task in client.list_tasks("story")))
        for each in TASKS:
            for chunk in client.download_task_file("story", each, "stdout.txt"):
                sys.stdout.write(chunk.decode())
        for each in TASKS:
            client.delete_task("story", each)
        client.begin_delete_job("story", polling_interval=0).wait()
        client.begin_delete_pool("story", polling_interval=0).wait()


if __name__ == "__main__":
    main()
