"""Every supported operation through the async client of azure-batch 15.1."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from lab import TIMEOUT_SECONDS, Lab, NewLab, shell
from local_azure.batch.routes import OPERATIONS

HOUR = timedelta(hours=1)
FORMULA = '$TargetLowPriorityNodes = time() < time("2100-01-01T00:00:00Z") ? 2 : 0;'
INFO = m.BatchPoolInfo(pool_id="pool")
AT_ONCE = {"polling_interval": 0}

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Return what `look` returns as soon as it is not None; each call is a request."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not (seen := await look()):
            pass
    return seen


async def listed(items: AsyncIterable[T]) -> list[T]:
    return [item async for item in items]


async def finished(begun: Awaitable[Any]) -> None:
    """Wait for a long-running operation, and fail if a poll failed: the SDK would not raise."""
    poller = await begun
    await poller.wait()
    assert poller.status() == "Succeeded"


async def code_of(call: Awaitable[Any]) -> str:
    """Return the error code of a refused call, or None."""
    with pytest.raises(HttpResponseError) as caught:
        await call
    error: Any = caught.value.error
    return str(error.code)


async def idle_nodes(client: Any, *, count: int) -> list[Any]:
    """Wait until the pool is steady with `count` idle nodes, and return them."""

    async def look() -> list[Any]:
        nodes = await listed(client.list_nodes("pool"))
        steady = (await client.get_pool("pool")).allocation_state == "steady"
        return nodes if steady and [node.state for node in nodes] == ["idle"] * count else []

    return await until(look)


async def in_state(client: Any, task_id: str, state: str) -> Any:
    async def look() -> Any:
        task = await client.get_task("job", task_id)
        return task if task.state == state else None

    return await until(look)


async def drive_pools(client: Any, lab: Lab) -> None:
    images = await listed(client.list_supported_images())
    assert "batch.node.ubuntu 24.04" in {image.node_agent_sku_id for image in images}
    start = m.BatchStartTask(command_line=shell("echo started"), wait_for_success=True)
    sizes = {"target_low_priority_nodes": 1, "task_slots_per_node": 2}
    await client.create_pool(lab.pool_options("pool", start_task=start, **sizes))
    assert await code_of(client.create_pool(lab.pool_options("POOL"))) == "PoolExists"
    assert await client.pool_exists("pool")
    with pytest.raises(ResourceNotFoundError):
        await client.pool_exists("none")
    (pool,) = await listed(client.list_pools(select=["id", "state"], filter="id eq 'pool'"))
    assert pool.as_dict() == {"id": "pool", "state": "active"}
    await idle_nodes(client, count=1)
    await drive_properties(client, start)


async def drive_properties(client: Any, start: m.BatchStartTask) -> None:
    pairs = [m.BatchMetadataItem(name=name, value="1") for name in ("patched", "replaced")]
    await client.update_pool("pool", m.BatchPoolUpdateOptions(metadata=pairs[:1]))
    patched = await client.get_pool("pool")
    assert (patched.metadata, patched.start_task.command_line) == (pairs[:1], start.command_line)
    properties = m.BatchPoolReplaceOptions(
        start_task=start, metadata=pairs[1:], application_package_references=[]
    )
    await client.replace_pool_properties("pool", properties)
    assert (await client.get_pool("pool")).metadata == pairs[1:]


async def drive_jobs(client: Any) -> None:
    limits = m.BatchJobConstraints(max_wall_clock_time=HOUR)
    await client.create_job(m.BatchJobCreateOptions(id="job", pool_info=INFO, constraints=limits))
    again = m.BatchJobCreateOptions(id="JOB", pool_info=INFO)
    assert await code_of(client.create_job(again)) == "JobExists"
    (job,) = await listed(client.list_jobs())
    assert (job.id, job.constraints.max_wall_clock_time) == ("job", HOUR)
    await client.update_job("job", m.BatchJobUpdateOptions(priority=7))
    patched = await client.get_job("job")
    assert (patched.priority, patched.constraints.max_wall_clock_time) == (7, HOUR)
    await client.replace_job("job", m.BatchJob(pool_info=INFO))
    replaced = await client.get_job("job")
    assert replaced.priority == 0
    assert replaced.constraints.max_wall_clock_time > HOUR
    requeue = m.BatchJobDisableOptions(disable_tasks="requeue")
    await finished(client.begin_disable_job("job", requeue, **AT_ONCE))
    assert (await client.get_job("job")).state == "disabled"
    await finished(client.begin_enable_job("job", **AT_ONCE))
    assert (await client.get_job("job")).state == "active"


async def drive_tasks(client: Any) -> None:
    """Add more tasks than a request can have, one that fails, and list them over pages."""
    exits = {f"t{n}": int(n == 7) for n in range(101)}
    tasks = [
        m.BatchTaskCreateOptions(id=name, command_line=shell(f"echo {name}; exit {code}"))
        for name, code in exits.items()
    ]
    added = await client.create_tasks("job", tasks)
    assert {result.task_id for result in added.result_values} == set(exits)

    async def all_completed() -> Any:
        counts = (await client.get_job_task_counts("job")).task_counts
        return counts if counts.completed == len(exits) else None

    counts = await until(all_completed)
    assert (counts.succeeded, counts.failed) == (100, 1)
    done = client.list_tasks(
        "job", filter="state eq 'completed'", select=["id", "executionInfo"], max_results=40
    )
    assert {task.id: task.execution_info.exit_code async for task in done} == exits


async def drive_one_task(client: Any, lab: Lab) -> None:
    wanted = lab.data / "wanted"
    await client.create_task(
        "job", m.BatchTaskCreateOptions(id="retried", command_line=f"test -e {wanted}")
    )
    assert (await in_state(client, "retried", "completed")).execution_info.exit_code == 1
    wanted.touch()
    await client.reactivate_task("job", "retried")
    assert (await in_state(client, "retried", "completed")).execution_info.exit_code == 0
    refusal = await code_of(client.reactivate_task("job", "retried"))
    assert refusal == "OperationInvalidForCurrentState"
    await client.delete_task("job", "retried")
    assert await code_of(client.get_task("job", "retried")) == "TaskNotFound"


async def drive_a_long_task(client: Any) -> None:
    """Run a task that keeps the pool's only node until the resize is stopped."""
    await client.create_task("job", m.BatchTaskCreateOptions(id="long", command_line="sleep 60"))
    await in_state(client, "long", "running")
    limits = m.BatchTaskConstraints(max_wall_clock_time=HOUR)
    await client.replace_task("job", "long", m.BatchTask(constraints=limits))
    assert (await client.get_task("job", "long")).constraints.max_wall_clock_time == HOUR
    nothing = m.BatchPoolResizeOptions(
        target_low_priority_nodes=0, node_deallocation_option="taskcompletion"
    )
    await client.begin_resize_pool("pool", nothing, **AT_ONCE)
    assert (await client.get_pool("pool")).allocation_state == "resizing"
    await finished(client.begin_stop_pool_resize("pool", **AT_ONCE))
    errors = (await client.get_pool("pool")).resize_errors
    assert [error.code for error in errors] == ["ResizeStopped"]
    await client.terminate_task("job", "long")
    ended = await in_state(client, "long", "completed")
    assert ended.execution_info.failure_info.code == "TaskEnded"


async def drive_sizes(client: Any) -> None:
    two = m.BatchPoolResizeOptions(target_low_priority_nodes=2)
    await finished(client.begin_resize_pool("pool", two, **AT_ONCE))
    gone, kept = await idle_nodes(client, count=2)
    removal = m.BatchNodeRemoveOptions(node_ids=[gone.id])
    await finished(client.begin_remove_nodes("pool", removal, **AT_ONCE))
    assert [node.id for node in await idle_nodes(client, count=1)] == [kept.id]
    options = m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=FORMULA)
    await client.enable_pool_auto_scale("pool", options)
    await idle_nodes(client, count=2)
    asked = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula="$TargetDedicatedNodes = 1")
    run = await client.evaluate_pool_auto_scale("pool", asked)
    assert run.results.startswith("$TargetDedicatedNodes=1;$TargetLowPriorityNodes=2")
    await client.disable_pool_auto_scale("pool")
    assert (await client.get_pool("pool")).enable_auto_scale is False


async def drive_nodes(client: Any) -> None:
    node, _ = await idle_nodes(client, count=2)
    reboot = {"nodeRebootOption": "requeue"}
    await finished(client.begin_reboot_node("pool", node.id, reboot, **AT_ONCE))
    await idle_nodes(client, count=2)
    assert (await client.get_node("pool", node.id)).last_boot_time > node.last_boot_time
    requeue = {"nodeDisableSchedulingOption": "requeue"}
    await client.disable_node_scheduling("pool", node.id, requeue)
    assert (await client.get_node("pool", node.id)).scheduling_state == "disabled"
    await client.enable_node_scheduling("pool", node.id)
    assert (await client.get_node("pool", node.id)).scheduling_state == "enabled"
    (counts,) = await listed(client.list_pool_node_counts())
    assert (counts.pool_id, counts.low_priority.idle, counts.low_priority.total) == ("pool", 2, 2)
    await drive_files(client, "node", "pool", node.id, "startup/stdout.txt", content=b"started\n")


async def drive_files(client: Any, owner: str, *names: str, content: bytes) -> None:
    """List, read and delete a file of a task or a node."""
    *place, name = names
    files = await listed(getattr(client, f"list_{owner}_files")(*place, recursive=True))
    assert name in {file.name for file in files}
    properties = await getattr(client, f"get_{owner}_file_properties")(*names)
    assert (properties.content_length, properties.is_directory) == (len(content), False)
    read = getattr(client, f"download_{owner}_file")
    assert b"".join(await listed(await read(*names))) == content
    assert b"".join(await listed(await read(*names, ocp_range="bytes=1-2"))) == content[1:3]
    delete = getattr(client, f"delete_{owner}_file")
    await delete(*names)
    assert await code_of(delete(*names)) == "FileNotFound"


async def drive_the_end(client: Any) -> None:
    reason = {"terminateReason": "all is done"}
    await finished(client.begin_terminate_job("job", reason, **AT_ONCE))
    assert (await client.get_job("job")).execution_info.termination_reason == "all is done"
    await finished(client.begin_delete_job("job", **AT_ONCE))
    assert await code_of(client.get_job("job")) == "JobNotFound"
    await finished(client.begin_delete_pool("pool", **AT_ONCE))
    assert await code_of(client.get_pool("pool")) == "PoolNotFound"


async def test_the_async_client_drives_every_operation(new_lab: NewLab) -> None:
    lab = new_lab()
    async with lab.connect_async() as client:
        await drive_pools(client, lab)
        await drive_jobs(client)
        await drive_tasks(client)
        await drive_files(client, "task", "job", "t7", "stdout.txt", content=b"t7\n")
        await drive_one_task(client, lab)
        await drive_a_long_task(client)
        await drive_sizes(client)
        await drive_nodes(client)
        await drive_the_end(client)
    assert lab.called == {(method, path) for method, path, _ in OPERATIONS}
