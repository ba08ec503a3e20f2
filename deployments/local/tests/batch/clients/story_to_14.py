"""The story of every client, by azure-batch 6 to 14: run tasks, print their output, delete all."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

TASKS = ("t0", "t1", "t2")
TIMEOUT_SECONDS = 30
RESOURCE = "https://batch.core.windows.net/"
IMAGE = models.ImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
MACHINE = models.VirtualMachineConfiguration(
    image_reference=IMAGE, node_agent_sku_id="batch.node.ubuntu 24.04"
)


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not look():
        assert time.monotonic() < deadline, "timeout"


def credentials() -> Any:
    """Return the account's key or, without one, tokens of version 1.0 by ADAL."""
    if key := os.environ.get("AZURE_BATCH_ACCESS_KEY"):
        return SharedKeyCredentials(os.environ["AZURE_BATCH_ACCOUNT"], key)
    import adal
    from msrestazure.azure_active_directory import AdalAuthentication

    authority = f"{os.environ['AZURE_AUTHORITY_HOST']}/{os.environ['AZURE_TENANT_ID']}"
    context = adal.AuthenticationContext(authority, validate_authority=False, api_version=None)
    secret = (os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"])
    return AdalAuthentication(context.acquire_token_with_client_credentials, RESOURCE, *secret)


def main() -> None:
    client = BatchServiceClient(credentials(), batch_url=os.environ["AZURE_BATCH_ENDPOINT"])
    client.pool.add(
        models.PoolAddParameter(
            id="story",
            vm_size="Standard_D2ds_v5",
            virtual_machine_configuration=MACHINE,
            target_dedicated_nodes=1,
        )
    )
    info = models.PoolInformation(pool_id="story")
    client.job.add(models.JobAddParameter(id="story", pool_info=info))
    command = "/bin/sh -c 'echo hello from $AZ_BATCH_TASK_ID'"
    tasks = [models.TaskAddParameter(id=each, command_line=command) for each in TASKS]
    client.task.add_collection("story", tasks)
    until(lambda: all(task.state == "completed" for task in client.task.list("story")))
    for each in TASKS:
        for chunk in client.file.get_from_task("story", each, "stdout.txt"):
            sys.stdout.write(chunk.decode())
    for each in TASKS:
        client.task.delete("story", each)
    client.job.delete("story")
    client.pool.delete("story")
    until(lambda: not client.pool.exists("story"))


if __name__ == "__main__":
    main()
