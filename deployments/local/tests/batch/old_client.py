"""A program that calls every supported operation through azure-batch 14.2.

It uses the service in its environment's settings, and fails with an AssertionError if an answer
differs from the client's models.
"""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

URL = os.environ["AZURE_BATCH_ENDPOINT"]
ACCOUNT = os.environ["AZURE_BATCH_ACCOUNT"]
KEY = os.environ["AZURE_BATCH_ACCESS_KEY"]
TIMEOUT_SECONDS = 60
HOUR = timedelta(hours=1)
FORMULA = '$TargetLowPriorityNodes = time() < time("2100-01-01T00:00:00Z") ? 2 : 0;'
IMAGE = models.ImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
MACHINE = models.VirtualMachineConfiguration(
    image_reference=IMAGE, node_agent_sku_id="batch.node.ubuntu 24.04"
)


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, "timeout"
    return seen


def code_of(call: Callable[..., Any], *arguments: Any) -> str | None:
    """Return the error code of a refused call, or None."""
    try:
        call(*arguments)
    except models.BatchErrorException as error:
        return error.error.code
    return None


def steady(client: BatchServiceClient, pool_id: str, *, nodes: int) -> None:
    def look() -> bool:
        states = [node.state for node in client.compute_node.list(pool_id)]
        resized = client.pool.get(pool_id).allocation_state == "steady"
        return resized and states == ["idle"] * nodes

    until(look)


def completed(client: BatchServiceClient, job_id: str, task_id: str) -> models.CloudTask:
    until(lambda: client.task.get(job_id, task_id).state == "completed")
    return client.task.get(job_id, task_id)


def drive_pools(client: BatchServiceClient) -> None:
    offered = client.account.list_supported_images()
    assert "batch.node.ubuntu 24.04" in {image.node_agent_sku_id for image in offered}
    start = models.StartTask(command_line="true", wait_for_success=True)
    client.pool.add(
        models.PoolAddParameter(
            id="old",
            vm_size="standard_d2s_v3",
            virtual_machine_configuration=MACHINE,
            target_low_priority_nodes=1,
            task_slots_per_node=2,
            start_task=start,
            resize_timeout=timedelta(minutes=15),
        )
    )
    assert client.pool.exists("old")
    assert not client.pool.exists("none")
    assert code_of(client.pool.get, "none") == "PoolNotFound"
    steady(client, "old", nodes=1)
    (pool,) = client.pool.list(models.PoolListOptions(select="id,state", filter="id eq 'old'"))
    assert (pool.id, pool.state, pool.vm_size) == ("old", "active", None)
    client.pool.patch("old", models.PoolPatchParameter(metadata=[pair("kept", "1")]))
    properties = models.PoolUpdatePropertiesParameter(
        start_task=start,
        metadata=[pair("a", "b")],
        certificate_references=[],
        application_package_references=[],
    )
    client.pool.update_properties("old", properties)
    (kept,) = client.pool.get("old").metadata
    assert (kept.name, kept.value) == ("a", "b")


def pair(name: str, value: str) -> models.MetadataItem:
    return models.MetadataItem(name=name, value=value)


def drive_sizes(client: BatchServiceClient) -> None:
    client.pool.resize("old", models.PoolResizeParameter(target_low_priority_nodes=2))
    steady(client, "old", nodes=2)
    gone = next(iter(client.compute_node.list("old"))).id
    client.pool.remove_nodes("old", models.NodeRemoveParameter(node_list=[gone]))
    steady(client, "old", nodes=1)
    assert code_of(client.pool.stop_resize, "old") == "OperationInvalidForCurrentState"
    client.pool.enable_auto_scale("old", FORMULA, timedelta(minutes=5))
    steady(client, "old", nodes=2)
    assert "$TargetLowPriorityNodes=2" in client.pool.evaluate_auto_scale("old", FORMULA).results
    client.pool.disable_auto_scale("old")


def drive_nodes(client: BatchServiceClient) -> None:
    node_id = next(iter(client.compute_node.list("old"))).id
    client.compute_node.reboot("old", node_id)
    steady(client, "old", nodes=2)
    client.compute_node.disable_scheduling("old", node_id)
    assert client.compute_node.get("old", node_id).scheduling_state == "disabled"
    client.compute_node.enable_scheduling("old", node_id)
    (counts,) = client.account.list_pool_node_counts()
    assert (counts.pool_id, counts.low_priority.idle) == ("old", 2)
    drive_files(client.file, "compute_node", "old", node_id, "startup/stdout.txt", content=b"")


def drive_jobs(client: BatchServiceClient) -> None:
    pool = models.PoolInformation(pool_id="old")
    limits = models.JobConstraints(max_wall_clock_time=HOUR, max_task_retry_count=1)
    client.job.add(models.JobAddParameter(id="old", pool_info=pool, constraints=limits))
    assert code_of(client.job.add, models.JobAddParameter(id="OLD", pool_info=pool)) == "JobExists"
    (job,) = client.job.list()
    assert (job.id, job.constraints.max_wall_clock_time) == ("old", HOUR)
    client.job.patch("old", models.JobPatchParameter(priority=7))
    assert client.job.get("old").priority == 7
    client.job.update("old", models.JobUpdateParameter(pool_info=pool, constraints=limits))
    assert client.job.get("old").priority == 0
    client.job.disable("old", "requeue")
    until(lambda: client.job.get("old").state == "disabled")
    client.job.enable("old")
    assert client.job.get("old").state == "active"


def drive_tasks(client: BatchServiceClient) -> None:
    tasks = [
        models.TaskAddParameter(id=f"t{n:03}", command_line=f"/bin/sh -c 'echo {n}'")
        for n in range(150)
    ]
    added = client.task.add_collection("old", tasks, threads=2)
    assert {result.status for result in added.value} == {"success"}
    until(lambda: client.job.get_task_counts("old").task_counts.completed == 150)
    page = models.TaskListOptions(select="id,state", filter="state eq 'completed'", max_results=40)
    assert {task.id for task in client.task.list("old", page)} == {task.id for task in tasks}
    assert completed(client, "old", "t007").execution_info.exit_code == 0
    drive_files(client.file, "task", "old", "t007", "stdout.txt", content=b"7\n")


def drive_one_task(client: BatchServiceClient) -> None:
    client.task.add("old", models.TaskAddParameter(id="bad", command_line="/bin/sh -c 'exit 3'"))
    bad = completed(client, "old", "bad").execution_info
    assert (bad.exit_code, bad.retry_count, bad.failure_info.code) == (3, 1, "FailureExitCode")
    client.task.reactivate("old", "bad")
    completed(client, "old", "bad")
    client.task.add("old", models.TaskAddParameter(id="long", command_line="sleep 60"))
    limits = models.TaskConstraints(max_wall_clock_time=HOUR)
    client.task.update("old", "long", limits)
    assert client.task.get("old", "long").constraints.max_wall_clock_time == HOUR
    client.task.terminate("old", "long")
    assert completed(client, "old", "long").execution_info.failure_info.code == "TaskEnded"
    client.task.delete("old", "long")
    assert code_of(client.task.get, "old", "long") == "TaskNotFound"


def drive_files(files: Any, place: str, *names: str, content: bytes) -> None:
    """List, read and delete a file of a task or a node."""
    owner, item, name = names
    listed = getattr(files, f"list_from_{place}")(owner, item, recursive=True)
    assert name in {file.name for file in listed}
    look = getattr(files, f"get_properties_from_{place}")
    headers = look(owner, item, name, raw=True).headers
    assert headers["ocp-batch-file-isdirectory"] is False
    assert headers["Content-Length"] == len(content)
    read = getattr(files, f"get_from_{place}")
    assert b"".join(read(owner, item, name)) == content
    getattr(files, f"delete_from_{place}")(owner, item, name)
    assert code_of(read, owner, item, name) == "FileNotFound"


def drive_the_end(client: BatchServiceClient) -> None:
    client.job.terminate("old", "all is done")
    until(lambda: client.job.get("old").state == "completed")
    assert client.job.get("old").execution_info.terminate_reason == "all is done"
    client.job.delete("old")
    client.pool.delete("old")
    until(lambda: not client.pool.exists("old"))


def main() -> None:
    client = BatchServiceClient(SharedKeyCredentials(ACCOUNT, KEY), batch_url=URL)
    for drive in (
        drive_pools,
        drive_sizes,
        drive_nodes,
        drive_jobs,
        drive_tasks,
        drive_one_task,
        drive_the_end,
    ):
        drive(client)


if __name__ == "__main__":
    main()
