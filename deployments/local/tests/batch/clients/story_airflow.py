"""The story of every client, by Airflow's AzureBatchOperator, which runs one task at a time."""

import json
import os

TASKS = ("t0", "t1", "t2")
os.environ["AIRFLOW_CONN_AZURE_BATCH_DEFAULT"] = json.dumps(
    {
        "conn_type": "azure_batch",
        "login": os.environ["AZURE_BATCH_ACCOUNT"],
        "password": os.environ["AZURE_BATCH_ACCESS_KEY"],
        "extra": {"account_url": os.environ["AZURE_BATCH_ENDPOINT"]},
    }
)

from airflow.providers.microsoft.azure.operators.batch import AzureBatchOperator  # noqa: E402


def operator(task_id: str) -> AzureBatchOperator:
    return AzureBatchOperator(
        task_id=task_id,
        batch_pool_id="story",
        batch_pool_vm_size="Standard_D2ds_v5",
        batch_job_id="story",
        batch_task_id=task_id,
        batch_task_command_line="/bin/sh -c 'echo hello from $AZ_BATCH_TASK_ID'",
        vm_publisher="canonical",
        vm_offer="ubuntu-24_04-lts",
        vm_sku="server",
        vm_version="latest",
        vm_node_agent_sku_id="batch.node.ubuntu 24.04",
        target_dedicated_nodes=1,
        timeout=1,
    )


def main() -> None:
    for each in TASKS:
        run = operator(each)
        run.execute({})
        client = run.hook.connection
        for chunk in client.download_task_file("story", each, "stdout.txt"):
            os.write(1, chunk)
        client.delete_task("story", each)
    run.clean_up(job_id="story")
    run.clean_up(pool_id="story")


if __name__ == "__main__":
    main()
