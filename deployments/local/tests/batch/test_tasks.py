"""Tasks, through the real client."""

import gc
import json
import weakref
from datetime import timedelta
from typing import Any

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from lab import FaultOrders, Lab, is_alive, until

STUBBORN = "trap '' TERM; echo on; while :; do sleep 0.05; done"


def test_a_task_shows_its_properties_and_the_defaults(lab: Lab) -> None:
    job_id = lab.job("nowhere", constraints=m.BatchJobConstraints(max_task_retry_count=2))
    task_id = lab.task(job_id, display_name="Clip", command_line="ffmpeg -version")
    task = lab.client.get_task(job_id, task_id)
    assert (task.id, task.display_name, task.state) == (task_id, "Clip", "active")
    assert task.command_line == "ffmpeg -version"
    assert task.required_slots == 1
    assert task.constraints.max_task_retry_count == 2
    assert task.constraints.retention_time == timedelta(days=7)
    assert task.constraints.max_wall_clock_time > timedelta(days=10_675_198)
    assert task.user_identity.auto_user.elevation_level == "nonadmin"
    assert (task.execution_info.retry_count, task.execution_info.requeue_count) == (0, 0)
    assert task.node_info is None
    assert task.url == f"{lab.url}/jobs/{job_id}/tasks/{task_id}"


def test_a_completed_task_shows_its_result_and_its_node(lab: Lab, pool: str) -> None:
    task = lab.run(pool, "echo out; echo err >&2; exit 0")
    info = task.execution_info
    assert (info.exit_code, info.result, info.failure_info) == (0, "success", None)
    assert task.creation_time <= info.start_time <= info.end_time
    assert (task.previous_state, task.node_info.pool_id) == ("running", pool)
    assert task.node_info.task_root_directory.endswith(f"/job-1/{task.id}")
    assert (lab.output(task), lab.output(task, "stderr.txt")) == ("out\n", "err\n")


def test_a_task_with_another_exit_code_is_a_failure(lab: Lab, pool: str) -> None:
    info = lab.run(pool, "exit 7").execution_info
    assert (info.exit_code, info.result) == (7, "failure")
    assert (info.failure_info.code, info.failure_info.category) == ("FailureExitCode", "usererror")


def test_the_exit_code_after_a_signal_is_128_plus_its_number(lab: Lab, pool: str) -> None:
    assert lab.run(pool, "kill -9 $$").execution_info.exit_code == 137


def test_a_missing_program_is_reported_and_not_retried(lab: Lab, pool: str) -> None:
    again = m.BatchTaskConstraints(max_task_retry_count=3)
    info = lab.run(pool, command_line="no-such-program", constraints=again).execution_info
    assert (info.exit_code, info.retry_count) == (None, 0)
    assert info.failure_info.code == "CommandProgramNotFound"


def test_a_command_line_that_cannot_be_parsed_fails_to_launch(lab: Lab, pool: str) -> None:
    info = lab.run(pool, command_line="echo 'unclosed").execution_info
    assert info.failure_info.code == "CommandLaunchFailed"


def test_no_shell_reads_the_command_line(lab: Lab, pool: str) -> None:
    task = lab.run(pool, command_line="echo $HOME; touch x && `id` > y 'a  b'")
    assert lab.output(task) == "$HOME; touch x && `id` > y a  b\n"


def test_the_environment_has_only_the_variables_of_the_node_agent(lab: Lab, pool: str) -> None:
    own = {"OWN": "it's $mine", "no.name for-sh": "1", "IFS": "x", "PWD": "/else"}
    settings = [m.EnvironmentSetting(name=name, value=value) for name, value in own.items()]
    task = lab.run(pool, command_line="env", environment_settings=settings)
    variables = dict(line.split("=", 1) for line in lab.output(task).splitlines())
    variables.pop("_", None)  # which bash sets, where it is sh
    node = lab.data / pool / task.node_info.node_id
    folder = node / task.node_info.task_root_directory
    assert variables == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder / "wd"),
        **own,
        "AZ_BATCH_ACCOUNT_NAME": "localbatch",
        "AZ_BATCH_ACCOUNT_URL": lab.url,
        "AZ_BATCH_JOB_ID": task.url.split("/")[-3],
        "AZ_BATCH_NODE_ID": task.node_info.node_id,
        "AZ_BATCH_NODE_IS_DEDICATED": "false",
        "AZ_BATCH_NODE_MOUNTS_DIR": str(node / "fsmounts"),
        "AZ_BATCH_NODE_ROOT_DIR": str(node),
        "AZ_BATCH_NODE_SHARED_DIR": str(node / "shared"),
        "AZ_BATCH_NODE_STARTUP_DIR": str(node / "startup"),
        "AZ_BATCH_POOL_ID": pool,
        "AZ_BATCH_TASK_DIR": str(folder),
        "AZ_BATCH_TASK_ID": task.id,
        "AZ_BATCH_TASK_WORKING_DIR": str(folder / "wd"),
    }


def test_a_user_cannot_change_what_the_agent_sets(lab: Lab, pool: str) -> None:
    setting = m.EnvironmentSetting(name="AZ_BATCH_TASK_ID", value="other")
    task = lab.run(pool, "echo $AZ_BATCH_TASK_ID", environment_settings=[setting])
    assert lab.output(task) == f"{task.id}\n"


def test_a_failing_task_is_retried_up_to_its_limit(lab: Lab, pool: str) -> None:
    twice = m.BatchTaskConstraints(max_task_retry_count=2)
    info = lab.run(pool, "exit 1", constraints=twice).execution_info
    assert (info.retry_count, info.exit_code, info.result) == (2, 1, "failure")
    assert info.last_retry_time is not None


def test_a_task_with_constraints_of_its_own_does_not_inherit_the_retries_of_its_job(
    lab: Lab, pool: str
) -> None:
    job_id = lab.job(pool, constraints=m.BatchJobConstraints(max_task_retry_count=2))
    own = m.BatchTaskConstraints(retention_time=timedelta(minutes=5))
    task = lab.completed(job_id, lab.task(job_id, "exit 1", constraints=own))
    assert task.constraints.max_task_retry_count == task.execution_info.retry_count == 0
    inheriting = lab.completed(job_id, lab.task(job_id, "exit 1"))
    assert inheriting.execution_info.retry_count == 2


def test_a_retry_that_succeeds_is_a_success(lab: Lab, pool: str) -> None:
    script = 'seen=$AZ_BATCH_NODE_SHARED_DIR/seen; test -e "$seen" || { touch "$seen"; exit 1; }'
    for_ever = m.BatchTaskConstraints(max_task_retry_count=-1)
    info = lab.run(pool, script, constraints=for_ever).execution_info
    assert (info.retry_count, info.exit_code, info.result) == (1, 0, "success")
    assert info.failure_info is None


def test_a_wall_clock_ends_the_task_and_its_child_processes(
    lab: Lab, pool: str, faults: FaultOrders, tmp_path: Any
) -> None:
    faults.stop_clock()
    limit = m.BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=0.1))
    script = f"(trap '' TERM; while :; do date > {tmp_path}/alive; sleep 0.02; done) & wait"
    job_id = lab.job(pool)
    task_id = lab.task(job_id, script, constraints=limit)
    until((tmp_path / "alive").exists)
    faults.start_clock()
    info = lab.completed(job_id, task_id).execution_info
    assert (info.exit_code, info.result) == (None, "failure")
    assert info.failure_info.code == "TaskEnded"
    (tmp_path / "alive").unlink()
    until(lambda: lab.nodes(pool, count=1))
    assert not (tmp_path / "alive").exists()


def test_processes_that_a_task_leaves_behind_end_with_it(
    lab: Lab, pool: str, tmp_path: Any
) -> None:
    alive = tmp_path / "alive"
    begun = f"until test -e {alive}; do sleep 0.02; done"
    script = f"(while :; do date > {alive}; sleep 0.02; done) & {begun}"
    assert lab.run(pool, script).execution_info.exit_code == 0
    alive.unlink()
    assert lab.run(pool, "sleep 0.1").execution_info.exit_code == 0
    assert not alive.exists()


def test_slots_are_never_overcommitted(lab: Lab, pool: str, tmp_path: Any) -> None:
    job_id = lab.job(pool)
    script = f"mkdir {tmp_path}/lock || exit 9; sleep 0.05; rmdir {tmp_path}/lock"
    tasks = [lab.task(job_id, script, required_slots=2) for _ in range(3)]
    assert {lab.completed(job_id, each).execution_info.exit_code for each in tasks} == {0}


def test_more_slots_than_a_node_has_are_refused(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    with pytest.raises(HttpResponseError) as caught:
        lab.task(job_id, required_slots=3)
    assert caught.value.error.code == "InvalidPropertyValue"


def test_task_ids_ignore_case_and_are_unique(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    lab.task(job_id, id="Clip")
    with pytest.raises(ResourceExistsError) as caught:
        lab.task(job_id, id="cLIP")
    assert caught.value.error.code == "TaskExists"
    assert lab.client.get_task(job_id, "CLIP").id == "Clip"


def test_an_unknown_task_is_not_found(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    with pytest.raises(ResourceNotFoundError) as caught:
        lab.client.get_task(job_id, "none")
    assert caught.value.error.code == "TaskNotFound"


def test_a_collection_adds_the_valid_tasks_and_reports_the_others(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    lab.task(job_id, id="there")
    value = [
        {"id": "there", "commandLine": "true"},
        {"id": "new", "commandLine": "true"},
        {"id": "bad id", "commandLine": "true"},
        {"id": "deps", "commandLine": "true", "dependsOn": {"taskIds": ["there"]}},
    ]
    results = lab.send("POST", f"/jobs/{job_id}/addtaskcollection", json={"value": value}).json()
    assert [
        (each["taskId"], each["status"], each.get("error", {}).get("code"))
        for each in results["value"]
    ] == [
        ("there", "clienterror", "TaskExists"),
        ("new", "success", None),
        ("bad id", "clienterror", "InvalidPropertyValue"),
        ("deps", "clienterror", "NotImplemented"),
    ]
    assert results["value"][1]["location"] == f"{lab.url}/jobs/{job_id}/tasks/new"
    assert sorted(task.id for task in lab.client.list_tasks(job_id)) == ["new", "there"]


def test_a_collection_of_more_than_100_tasks_is_too_large(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    value = [{"id": f"t{n}", "commandLine": "true"} for n in range(101)]
    path = f"/jobs/{job_id}/addtaskcollection"
    assert lab.refused("POST", path, json={"value": value}) == (413, "RequestBodyTooLarge")
    assert lab.send("POST", path, json={"value": value[:100]}).status_code == 200


def test_a_body_of_more_than_one_mebibyte_is_too_large(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    path = f"/jobs/{job_id}/addtaskcollection"
    for excess, expected in [(0, 200), (1, 413)]:
        task = {"id": f"t{excess}", "commandLine": ""}
        task["commandLine"] = "x" * ((1 << 20) - len(json.dumps({"value": [task]})) + excess)
        content = json.dumps({"value": [task]})
        response = lab.send(
            "POST", path, content=content, headers={"content-type": "application/json"}
        )
        assert response.status_code == expected


def test_counts_follow_every_task(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    good, bad = lab.task(job_id), lab.task(job_id, "exit 1", required_slots=2)
    lab.completed(job_id, good), lab.completed(job_id, bad)
    running = lab.task(job_id, "sleep 30", required_slots=2)
    lab.state(job_id, running, "running")
    lab.task(job_id)
    counts = lab.client.get_job_task_counts(job_id)
    tasks, slots = counts.task_counts, counts.task_slot_counts
    assert (tasks.active, tasks.running, tasks.completed) == (1, 1, 2)
    assert (tasks.succeeded, tasks.failed) == (1, 1)
    assert (slots.active, slots.running, slots.completed) == (1, 2, 3)
    assert (slots.succeeded, slots.failed) == (1, 2)


def test_tasks_are_listed_by_state_result_and_property(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    good, bad = lab.task(job_id), lab.task(job_id, "exit 1")
    lab.completed(job_id, good), lab.completed(job_id, bad)
    lab.task(job_id, "sleep 30", required_slots=2)
    waiting = lab.task(job_id, required_slots=2)

    def ids(clause: str) -> set[str]:
        return {task.id for task in lab.client.list_tasks(job_id, filter=clause)}

    assert ids("state eq 'completed'") == {good, bad}
    assert ids("state eq 'completed' and executionInfo/result eq 'failure'") == {bad}
    assert ids("executionInfo/exitCode eq 1 or state eq 'active'") == {bad, waiting}
    assert ids(f"not (state eq 'completed') and startswith(id,'{waiting}')") == {waiting}
    assert ids("creationTime gt datetime'2100-01-01T00:00:00Z'") == set()
    listed = lab.client.list_tasks(
        job_id, filter="state eq 'completed'", select=["id", "state", "executionInfo"]
    )
    assert all(set(task.as_dict()) == {"id", "state", "executionInfo"} for task in listed)


def test_pages_hold_as_many_tasks_as_asked_and_lose_none(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    ids = [f"t{n}" for n in range(250)]
    lab.client.create_tasks(
        job_id, [m.BatchTaskCreateOptions(id=each, command_line="true") for each in ids]
    )
    pages = [len(list(page)) for page in lab.client.list_tasks(job_id, max_results=100).by_page()]
    assert pages == [100, 100, 50]
    assert {task.id for task in lab.client.list_tasks(job_id, max_results=7)} == set(ids)


def test_deleting_between_two_pages_neither_repeats_nor_loses_others(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    ids = [lab.task(job_id) for _ in range(6)]
    pages = lab.client.list_tasks(job_id, max_results=2).by_page()
    seen = [task.id for task in next(pages)]
    lab.client.delete_task(job_id, ids[1])
    lab.client.delete_task(job_id, ids[2])
    seen += [task.id for page in pages for task in page]
    assert seen == [ids[0], ids[1], ids[3], ids[4], ids[5]]


def test_constraints_change_while_the_task_waits(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    task_id = lab.task(job_id)
    task = lab.client.get_task(job_id, task_id)
    task.constraints = m.BatchTaskConstraints(max_task_retry_count=4)
    lab.client.replace_task(job_id, task_id, task)
    after = lab.client.get_task(job_id, task_id)
    assert after.constraints.max_task_retry_count == 4
    assert after.etag != task.etag


def test_terminating_a_running_task_ends_its_process(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    task_id = lab.task(job_id, "sleep 30")
    lab.state(job_id, task_id, "running")
    lab.client.terminate_task(job_id, task_id)
    task = lab.client.get_task(job_id, task_id)
    assert (task.state, task.execution_info.failure_info.code) == ("completed", "TaskEnded")
    lab.nodes(pool, count=1)


def test_terminating_a_waiting_task_completes_it(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    task_id = lab.task(job_id)
    lab.client.terminate_task(job_id, task_id)
    assert lab.client.get_task(job_id, task_id).state == "completed"
    with pytest.raises(ResourceExistsError) as caught:
        lab.client.terminate_task(job_id, task_id)
    assert caught.value.error.code == "TaskCompleted"
    task = lab.client.get_task(job_id, task_id)
    with pytest.raises(ResourceExistsError) as caught:
        lab.client.replace_task(job_id, task_id, task)
    assert caught.value.error.code == "TaskCompleted"


def test_a_failed_task_is_reactivated_with_fresh_retries(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    script = 'test -e "$AZ_BATCH_NODE_SHARED_DIR/open"'
    once = m.BatchTaskConstraints(max_task_retry_count=1)
    task_id = lab.task(job_id, script, constraints=once)
    assert lab.completed(job_id, task_id).execution_info.retry_count == 1
    lab.run(pool, 'touch "$AZ_BATCH_NODE_SHARED_DIR/open"')
    lab.client.reactivate_task(job_id, task_id)
    info = lab.completed(job_id, task_id).execution_info
    assert (info.exit_code, info.retry_count) == (0, 0)


def test_a_successful_task_cannot_be_reactivated(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    task_id = lab.task(job_id)
    lab.completed(job_id, task_id)
    with pytest.raises(HttpResponseError) as caught:
        lab.client.reactivate_task(job_id, task_id)
    assert caught.value.error.code == "OperationInvalidForCurrentState"


def test_a_deleted_task_is_gone_with_its_files_and_its_id_is_free(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    task_id = lab.task(job_id, STUBBORN)
    until(lambda: lab.client.get_task(job_id, task_id).state == "running")
    until(lambda: "on" in lab.output(lab.client.get_task(job_id, task_id)))
    lab.client.delete_task(job_id, task_id)
    with pytest.raises(ResourceNotFoundError):
        lab.client.get_task(job_id, task_id)
    assert not list(lab.data.glob(f"*/*/workitems/{job_id}/job-1/{task_id}"))
    counts = lab.client.get_job_task_counts(job_id).task_counts
    assert (counts.running, counts.completed, counts.failed) == (0, 0, 0)
    lab.task(job_id, "echo again", id=task_id)
    assert lab.output(lab.completed(job_id, task_id)) == "again\n"


def test_a_second_termination_does_not_save_a_process_that_ignores_sigterm(
    lab: Lab, pool: str, faults: FaultOrders
) -> None:
    faults.stop_clock()
    limit = m.BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=0.1))
    job_id = lab.job(pool)
    script = "trap 'echo ending' TERM; echo $$; while :; do sleep 0.02; done"
    task_id = lab.task(job_id, script, constraints=limit)
    task = lab.state(job_id, task_id, "running")
    until(lambda: lab.output(task).strip())
    faults.start_clock()
    until(lambda: "ending" in lab.output(task))
    lab.client.terminate_task(job_id, task_id)
    pid = int(lab.output(task).split()[0])
    until(lambda: not is_alive(pid))


def test_files_are_deleted_after_their_retention_time(lab: Lab, pool: str) -> None:
    brief = m.BatchTaskConstraints(retention_time=timedelta(seconds=0.2))
    task = lab.run(pool, "echo x", constraints=brief)
    job_id = task.url.split("/")[-3]

    def gone() -> bool:
        response = lab.send("GET", f"/jobs/{job_id}/tasks/{task.id}/files")
        return response.status_code == 409 and response.json()["code"] == "TaskFilesUnavailable"

    until(gone)


def test_the_tasks_of_a_deleted_job_are_not_kept_for_their_retention_time(
    lab: Lab, pool: str
) -> None:
    job_id = lab.job(pool)
    lab.completed(job_id, lab.task(job_id))
    (kept,) = lab.inside(
        lambda service: [weakref.ref(task) for task in service.registry.jobs[job_id].tasks.values()]
    )
    lab.client.begin_delete_job(job_id, polling_interval=0).wait()
    lab.client.begin_delete_pool(pool, polling_interval=0).wait()
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize(
    "unsupported",
    [
        {"dependsOn": {"taskIds": ["a"]}},
        {"exitConditions": {"default": {"jobAction": "terminate"}}},
        {"multiInstanceSettings": {"coordinationCommandLine": "a"}},
        {"containerSettings": {"imageName": "a"}},
        {"applicationPackageReferences": [{"applicationId": "a"}]},
        {"authenticationTokenSettings": {"access": ["job"]}},
        {"affinityInfo": {"affinityId": "a"}},
        {"userIdentity": {"username": "a"}},
        {
            "resourceFiles": [
                {"autoStorageContainerName": "a", "httpUrl": "http://a", "filePath": "b"}
            ]
        },
    ],
)
def test_unsupported_properties_are_refused_by_name(lab: Lab, unsupported: dict[str, Any]) -> None:
    job_id = lab.job("nowhere")
    body = {"id": "t", "commandLine": "true"} | unsupported
    assert lab.refused("POST", f"/jobs/{job_id}/tasks", json=body) == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"commandLine": ""}, "InvalidPropertyValue"),
        ({"commandLine": "a\0b"}, "InvalidPropertyValue"),
        ({"commandLine": None}, "InvalidPropertyValue"),
        ({"resourceFiles": [{"httpUrl": "http://a"}]}, "MissingRequiredProperty"),
        (
            {"resourceFiles": [{"httpUrl": "file:///etc/passwd", "filePath": "a"}]},
            "InvalidPropertyValue",
        ),
        ({"resourceFiles": [{"httpUrl": "http://a", "filePath": "../a"}]}, "InvalidPropertyValue"),
        ({"resourceFiles": [{"httpUrl": "http://a", "filePath": "/a"}]}, "InvalidPropertyValue"),
        (
            {"resourceFiles": [{"httpUrl": "http://a", "filePath": "a", "fileMode": "9"}]},
            "InvalidPropertyValue",
        ),
        (
            {"resourceFiles": [{"httpUrl": "http://[::1/b", "filePath": "a"}]},
            "InvalidPropertyValue",
        ),
        ({"resourceFiles": [{"httpUrl": "http://a:b/", "filePath": "a"}]}, "InvalidPropertyValue"),
        ({"environmentSettings": [{"name": "A=B", "value": "c"}]}, "InvalidPropertyValue"),
        ({"requiredSlots": 0}, "InvalidPropertyValue"),
        ({"constraints": {"maxWallClockTime": "an hour"}}, "InvalidPropertyValue"),
        ({"constraints": {"maxTaskRetryCount": -2}}, "InvalidPropertyValue"),
    ],
)
def test_a_task_that_azure_would_refuse_is_refused(lab: Lab, wrong: Any, code: str) -> None:
    job_id = lab.job("nowhere")
    body = {"id": "t", "commandLine": "true"} | wrong
    assert lab.refused("POST", f"/jobs/{job_id}/tasks", json=body) == (400, code)


def test_unknown_properties_are_ignored(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    body = {"id": "t", "commandLine": "true", "newIn2031": {"a": [1]}}
    assert lab.send("POST", f"/jobs/{job_id}/tasks", json=body).status_code == 201
