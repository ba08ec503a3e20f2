"""The service as a whole: its start and end, its errors, its routes, and the async client."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceNotFoundError

from deployments.local import batch as package
from deployments.local.batch.errors import ERRORS
from deployments.local.batch.routes import OPERATIONS

SOURCES = Path(package.__file__).parent
TESTS = Path(__file__).parent


def read_all(folder: Path, *, but: str) -> str:
    return "\n".join(path.read_text() for path in folder.rglob("*.py") if path.name != but)


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_error_code_can_be_given_and_has_a_test(code: str) -> None:
    assert read_all(SOURCES, but="").count(f'"{code}"') > 1
    assert f'"{code}"' in read_all(TESTS, but="test_service.py")


def test_every_error_code_that_is_given_is_in_the_table() -> None:
    given = re.findall(r'BatchError\(\s*"(\w+)"', read_all(SOURCES, but=""))
    assert set(given) <= set(ERRORS)


def test_no_operation_is_listed_twice() -> None:
    assert len({(method, path) for method, path, _ in OPERATIONS}) == len(OPERATIONS)


def test_when_it_stops_its_processes_and_nodes_are_gone(
    serve: Callable[..., Any], tmp_path: Path, until: Any
) -> None:
    pids = tmp_path / "pids"
    with serve(tmp_path / "data") as lab:
        start = m.BatchStartTask(command_line=lab.shell(f"echo $$ >> {pids}; exec sleep 60"))
        lab.client.create_pool(lab.pool_options("a", target_dedicated_nodes=1))
        lab.client.create_pool(lab.pool_options("b", target_dedicated_nodes=1, start_task=start))
        lab.task(lab.job("a"), f"trap '' TERM; echo $$ >> {pids}; while :; do sleep 0.1; done")
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        assert len(list((tmp_path / "data").iterdir())) == 2
    assert not any(lab.alive(int(pid)) for pid in pids.read_text().split())
    assert list((tmp_path / "data").iterdir()) == []


async def test_the_async_client_does_what_the_pipeline_does(lab: Any, async_batch: Any) -> None:
    client = async_batch
    images = [image async for image in client.list_supported_images()]
    assert images
    start = m.BatchStartTask(command_line="true", wait_for_success=True)
    formula = '$TargetLowPriorityNodes = time() < time("2100-01-01T00:00:00Z") ? 2 : 0;'
    options = lab.pool_options(
        "async", start_task=start, enable_auto_scale=True, auto_scale_formula=formula
    )
    await client.create_pool(options)
    lab.nodes("async", count=2)
    info = m.BatchPoolInfo(pool_id="async")
    await client.create_job(m.BatchJobCreateOptions(id="async", pool_info=info))
    tasks = [
        m.BatchTaskCreateOptions(id=f"t{n}", command_line=lab.shell(f"echo {n}; exit {n}"))
        for n in range(3)
    ]
    added = await client.create_tasks("async", tasks)
    assert {result.task_id for result in added.result_values} == {"t0", "t1", "t2"}
    for task in tasks:
        lab.completed("async", task.id)
    counts = (await client.get_job_task_counts("async")).task_counts
    assert (counts.completed, counts.succeeded, counts.failed) == (3, 1, 2)
    listed = client.list_tasks(
        "async", filter="state eq 'completed'", select=["id", "executionInfo"]
    )
    assert {task.id: task.execution_info.exit_code async for task in listed} == {
        "t0": 0,
        "t1": 1,
        "t2": 2,
    }
    content = [
        chunk async for chunk in await client.download_task_file("async", "t2", "stdout.txt")
    ]
    assert b"".join(content) == b"2\n"
    assert [node.state async for node in client.list_nodes("async")] == ["idle", "idle"]
    poller = await client.begin_terminate_job(
        "async", options={"terminateReason": "done"}, polling_interval=0
    )
    await poller.wait()
    assert (await client.get_job("async")).execution_info.termination_reason == "done"
    for begin in (client.begin_delete_job, client.begin_delete_pool):
        await (await begin("async", polling_interval=0)).wait()
    with pytest.raises(ResourceNotFoundError):
        await client.get_pool("async")


def test_it_loads_neither_flows_nor_tasks_nor_what_only_transfers_need() -> None:
    program = "import sys, deployments.local.batch; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in said.decode().split()}
    assert {"deployments", "starlette"} <= loaded
    assert not loaded & {"flows", "tasks", "prefect", "azure", "aiohttp"}
