"""Nodes, through the real client."""

from typing import Any

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from lab import Lab, shell, until

REQUEUE: Any = {"nodeRebootOption": "requeue"}


def start(command_line: str, **options: Any) -> m.BatchStartTask:
    return m.BatchStartTask(command_line=command_line, **options)


def read(lab: Lab, pool_id: str, node_id: str, name: str) -> str:
    return b"".join(lab.client.download_node_file(pool_id, node_id, name)).decode()


def test_a_start_task_runs_in_its_own_folder_before_the_node_is_idle(lab: Lab) -> None:
    admin = m.UserIdentity(auto_user=m.AutoUserSpecification(scope="pool", elevation_level="admin"))
    setting = m.EnvironmentSetting(name="GREETING", value="hello $HOME")
    script = 'echo "$GREETING"; pwd; echo oops >&2; touch made'
    pool_id = lab.pool(
        start_task=start(shell(script), user_identity=admin, environment_settings=[setting])
    )
    (node,) = lab.client.list_nodes(pool_id)
    assert node.start_task_info.state == "completed"
    assert (node.start_task_info.exit_code, node.start_task_info.result) == (0, "success")
    assert node.start_task.user_identity.auto_user.elevation_level == "admin"
    greeting, folder = read(lab, pool_id, node.id, "startup/stdout.txt").splitlines()
    assert greeting == "hello $HOME"
    assert folder == str(lab.data / pool_id / node.id / "startup" / "wd")
    assert read(lab, pool_id, node.id, "startup/stderr.txt") == "oops\n"
    assert lab.client.get_node_file_properties(pool_id, node.id, "startup/wd/made")


def test_a_failed_start_task_leaves_the_node_failed_with_its_output(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0, start_task=start(shell("echo no apt >&2; exit 100")))
    grow = m.BatchPoolResizeOptions(target_low_priority_nodes=2)
    lab.client.begin_resize_pool(pool_id, grow, polling_interval=0).wait()
    node, _ = lab.nodes(pool_id, count=2, state="starttaskfailed")
    info = node.start_task_info
    assert (info.exit_code, info.result, info.retry_count) == (100, "failure", 0)
    assert info.failure_info.code == "FailureExitCode"
    assert read(lab, pool_id, node.id, "startup/stderr.txt") == "no apt\n"
    (counts,) = lab.client.list_pool_node_counts(filter=f"poolId eq '{pool_id}'")
    assert counts.low_priority.start_task_failed == 2


def test_a_start_task_is_retried_up_to_its_limit(lab: Lab) -> None:
    script = "echo x >> tries; test $(wc -l < tries) = 3"
    pool_id = lab.pool(start_task=start(shell(script), max_task_retry_count=2))
    (node,) = lab.client.list_nodes(pool_id)
    assert (node.start_task_info.retry_count, node.start_task_info.result) == (2, "success")


def test_a_node_need_not_wait_for_its_start_task(lab: Lab) -> None:
    pool_id = lab.pool(start_task=start("/bin/false", wait_for_success=False))

    def failed() -> bool:
        (node,) = lab.client.list_nodes(pool_id)
        info = node.start_task_info
        return node.state == "idle" and info is not None and info.state == "completed"

    until(failed)


def test_a_start_task_without_its_program_reports_that(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0, start_task=start("no-such-program --now"))
    grow = m.BatchPoolResizeOptions(target_low_priority_nodes=1)
    lab.client.begin_resize_pool(pool_id, grow, polling_interval=0).wait()
    (node,) = lab.nodes(pool_id, count=1, state="starttaskfailed")
    assert node.start_task_info.failure_info.code == "CommandProgramNotFound"


def test_a_node_shows_its_tasks(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    done = lab.completed(job_id, lab.task(job_id, "true"))
    running = lab.task(job_id, "sleep 30", required_slots=2)
    lab.state(job_id, running, "running")
    node = lab.client.get_node(pool, done.node_info.node_id)
    assert node.state == "running"
    assert (node.running_tasks_count, node.running_task_slots_count) == (1, 2)
    assert (node.total_tasks_run, node.total_tasks_succeeded) == (1, 1)
    assert [info.task_id for info in node.recent_tasks] == [running, done.id]
    assert node.vm_size == "STANDARD_D2S_V3"
    assert node.scheduling_state == "enabled"


def test_an_unknown_node_is_not_found(lab: Lab, pool: str) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        lab.client.get_node(pool, "none")
    assert caught.value.error.code == "NodeNotFound"


def test_nodes_are_listed_by_state_and_property(lab: Lab) -> None:
    pool_id = lab.pool(nodes=3)
    names = sorted(node.id for node in lab.client.list_nodes(pool_id))
    found = lab.client.list_nodes(pool_id, filter="state eq 'idle'", select=["id"], max_results=2)
    pages = [[node.as_dict() for node in page] for page in found.by_page()]
    assert pages == [[{"id": names[0]}, {"id": names[1]}], [{"id": names[2]}]]
    assert not list(lab.client.list_nodes(pool_id, filter="state eq 'running'"))


def test_removing_nodes_lowers_the_target(lab: Lab) -> None:
    pool_id = lab.pool(nodes=3)
    gone, *kept = lab.nodes(pool_id, count=3)
    options = m.BatchNodeRemoveOptions(node_ids=[gone.id])
    lab.client.begin_remove_nodes(pool_id, options, polling_interval=0).wait()
    left = lab.nodes(pool_id, count=2)
    assert [node.id for node in left] == [node.id for node in kept]
    assert lab.client.get_pool(pool_id).target_low_priority_nodes == 2
    assert not (lab.data / pool_id / gone.id).exists()


def test_nodes_of_a_pool_with_autoscale_cannot_be_removed(lab: Lab) -> None:
    pool_id = lab.pool(enable_auto_scale=True, auto_scale_formula="$TargetLowPriorityNodes = 1")
    (node,) = lab.nodes(pool_id, count=1)
    body = {"nodeList": [node.id]}
    answer = lab.refused("POST", f"/pools/{pool_id}/removenodes", json=body)
    assert answer == (409, "OperationInvalidForCurrentState")


def test_a_reboot_runs_the_start_task_again_and_keeps_the_disk(lab: Lab) -> None:
    pool_id = lab.pool(start_task=start(shell("echo x >> starts")))
    (node,) = lab.client.list_nodes(pool_id)
    job_id = lab.job(pool_id)
    task_id = lab.task(job_id, "test -e again && exit 0; touch again; echo on; sleep 30")
    lab.state(job_id, task_id, "running")
    until(lambda: "on" in lab.output(lab.client.get_task(job_id, task_id)))
    lab.client.begin_reboot_node(pool_id, node.id, REQUEUE, polling_interval=0).wait()
    assert lab.completed(job_id, task_id).execution_info.exit_code == 0
    assert read(lab, pool_id, node.id, "startup/wd/starts") == "x\nx\n"


def test_a_node_that_boots_cannot_be_rebooted(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0, start_task=start("sleep 30"))
    grow = m.BatchPoolResizeOptions(target_low_priority_nodes=1)
    lab.client.begin_resize_pool(pool_id, grow, polling_interval=0).wait()
    (node,) = lab.nodes(pool_id, count=1, state="waitingforstarttask")
    with pytest.raises(HttpResponseError) as caught:
        lab.client.begin_reboot_node(pool_id, node.id, REQUEUE, polling_interval=0)
    assert caught.value.error.code == "OperationInvalidForCurrentState"


def test_a_node_without_scheduling_gets_no_tasks(lab: Lab, pool: str) -> None:
    (node,) = lab.client.list_nodes(pool)
    lab.client.disable_node_scheduling(pool, node.id, {"nodeDisableSchedulingOption": "requeue"})
    assert lab.client.get_node(pool, node.id).scheduling_state == "disabled"
    job_id = lab.job(pool)
    task_id = lab.task(job_id)
    assert lab.client.get_task(job_id, task_id).state == "active"
    lab.client.enable_node_scheduling(pool, node.id)
    lab.completed(job_id, task_id)
