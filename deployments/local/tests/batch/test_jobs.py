"""Jobs, through the real client."""

from datetime import timedelta
from typing import Any

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from lab import Lab, Stubborn, until


def test_a_job_shows_its_properties_and_the_defaults(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool, display_name="Night", priority=5)
    job = lab.client.get_job(job_id)
    assert (job.id, job.display_name, job.priority, job.state) == (job_id, "Night", 5, "active")
    assert job.max_parallel_tasks == -1
    assert job.pool_info.pool_id == pool
    assert job.constraints.max_task_retry_count == 0
    assert (job.all_tasks_complete_mode, job.task_failure_mode) == ("noaction", "noaction")
    assert job.execution_info.pool_id == pool
    assert job.url == f"{lab.url}/jobs/{job_id}"


def test_job_ids_ignore_case_and_are_unique(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    assert lab.client.get_job(job_id.upper()).id == job_id
    with pytest.raises(ResourceExistsError) as caught:
        lab.client.create_job(
            m.BatchJobCreateOptions(id=job_id.upper(), pool_info=m.BatchPoolInfo(pool_id=pool))
        )
    assert caught.value.error.code == "JobExists"


def test_an_unknown_job_is_not_found(lab: Lab) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        lab.client.get_job("none")
    assert caught.value.error.code == "JobNotFound"


def test_a_job_waits_for_a_pool_that_does_not_exist_yet(lab: Lab) -> None:
    job_id = lab.job("later")
    task_id = lab.task(job_id)
    assert lab.client.get_task(job_id, task_id).state == "active"
    lab.client.create_pool(lab.pool_options("later", target_dedicated_nodes=1))
    lab.completed(job_id, task_id)


def test_terminating_a_job_ends_its_running_and_waiting_tasks(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    running = lab.task(job_id, "sleep 30", required_slots=2)
    waiting = lab.task(job_id, "sleep 30")
    lab.state(job_id, running, "running")
    lab.client.begin_terminate_job(
        job_id, options={"terminateReason": "enough"}, polling_interval=0
    ).wait()
    job = lab.client.get_job(job_id)
    assert (job.state, job.execution_info.termination_reason) == ("completed", "enough")
    assert job.execution_info.end_time is not None
    for task_id in (running, waiting):
        task = lab.client.get_task(job_id, task_id)
        assert (task.state, task.execution_info.failure_info.code) == ("completed", "TaskEnded")


def test_a_job_is_terminating_until_its_processes_have_ended(
    lab: Lab, pool: str, stubborn: Stubborn
) -> None:
    job_id = lab.job(pool)
    task_id = lab.task(job_id, stubborn.script)
    lab.state(job_id, task_id, "running")
    until(lambda: "on" in lab.output(lab.client.get_task(job_id, task_id)))
    assert lab.send("POST", f"/jobs/{job_id}/terminate").status_code == 202
    assert lab.client.get_job(job_id).state == "terminating"
    again = lab.refused("POST", f"/jobs/{job_id}/terminate")
    assert again == (409, "JobBeingTerminated")
    stubborn.end()
    lab.job_state(job_id, "completed")


def test_a_completed_job_accepts_no_tasks_and_no_changes(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    lab.send("POST", f"/jobs/{job_id}/terminate")
    lab.job_state(job_id, "completed")
    with pytest.raises(ResourceExistsError) as caught:
        lab.task(job_id)
    assert caught.value.error.code == "JobCompleted"
    for method, path, body in [
        ("PATCH", "", {"priority": 1}),
        ("POST", "/disable", {"disableTasks": "wait"}),
        ("POST", "/enable", None),
    ]:
        assert lab.refused(method, f"/jobs/{job_id}{path}", json=body) == (409, "JobCompleted")


def test_deleting_a_job_deletes_its_tasks_and_their_files(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    running = lab.task(job_id, "sleep 30")
    lab.state(job_id, running, "running")
    lab.client.begin_delete_job(job_id, polling_interval=0).wait()
    with pytest.raises(ResourceNotFoundError):
        lab.client.get_job(job_id)
    (node,) = lab.nodes(pool, count=1)
    assert not (lab.data / pool / node.id / "workitems" / job_id).exists()


def test_the_id_of_a_job_that_is_being_deleted_is_in_use(
    lab: Lab, pool: str, stubborn: Stubborn
) -> None:
    job_id = lab.job(pool)
    task_id = lab.task(job_id, stubborn.script)
    lab.state(job_id, task_id, "running")
    until(lambda: "on" in lab.output(lab.client.get_task(job_id, task_id)))
    assert lab.send("DELETE", f"/jobs/{job_id}").status_code == 202
    assert lab.client.get_job(job_id).state == "deleting"
    assert lab.refused("DELETE", f"/jobs/{job_id}") == (409, "JobBeingDeleted")
    body = {"id": job_id, "poolInfo": {"poolId": pool}}
    assert lab.refused("POST", "/jobs", json=body) == (409, "JobBeingDeleted")


def test_the_wall_clock_ends_the_job(lab: Lab, pool: str) -> None:
    limit = m.BatchJobConstraints(max_wall_clock_time=timedelta(seconds=0.3))
    job_id = lab.job(pool, constraints=limit)
    task_id = lab.task(job_id, "sleep 30")
    job = lab.job_state(job_id, "completed")
    assert job.execution_info.termination_reason == "MaxWallClockTimeExpiry"
    assert lab.completed(job_id, task_id).execution_info.failure_info.code == "TaskEnded"


def test_a_job_terminates_after_its_tasks_if_its_spec_says_so(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    task_ids = [lab.task(job_id), lab.task(job_id, "exit 3")]
    lab.client.update_job(job_id, m.BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    job = lab.job_state(job_id, "completed")
    assert job.execution_info.termination_reason == "AllTasksComplete"
    codes = [lab.client.get_task(job_id, each).execution_info.exit_code for each in task_ids]
    assert codes == [0, 3]


def test_a_job_without_tasks_counts_as_complete(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool, all_tasks_complete_mode="terminatejob")
    assert (
        lab.job_state(job_id, "completed").execution_info.termination_reason == "AllTasksComplete"
    )


def test_terminatejob_cannot_be_changed_back(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool)
    lab.task(job_id, "sleep 30")
    for mode in ("terminatejob", "noaction"):
        response = lab.send("PATCH", f"/jobs/{job_id}", json={"onAllTasksComplete": mode})
    assert (response.status_code, response.json()["code"]) == (400, "InvalidPropertyValue")


def test_a_failed_task_can_end_its_job(lab: Lab, pool: str) -> None:
    job_id = lab.job(pool, task_failure_mode="performexitoptionsjobaction")
    lab.task(job_id, "exit 1")
    assert lab.job_state(job_id, "completed").execution_info.termination_reason == "TaskFailed"


@pytest.mark.parametrize("what", ["requeue", "terminate", "wait"])
def test_disabling_requeues_ends_or_awaits_running_tasks(
    lab: Lab, pool: str, what: str, tmp_path: Any
) -> None:
    job_id = lab.job(pool)
    go = tmp_path / "go"
    running = lab.task(job_id, f"until test -e {go}; do sleep 0.02; done")
    lab.state(job_id, running, "running")
    body = {"disableTasks": what}
    assert lab.send("POST", f"/jobs/{job_id}/disable", json=body).status_code == 202
    if what == "wait":
        assert lab.client.get_job(job_id).state == "disabling"
        go.touch()
    lab.job_state(job_id, "disabled")
    go.touch()
    after = {"requeue": "active", "terminate": "completed", "wait": "completed"}[what]
    lab.state(job_id, running, after)
    waiting = lab.task(job_id)
    assert lab.client.get_task(job_id, waiting).state == "active"
    lab.client.begin_enable_job(job_id, polling_interval=0).wait()
    assert lab.client.get_job(job_id).state == "active"
    for task_id in (running, waiting):
        lab.completed(job_id, task_id)


def test_a_disabled_job_may_move_to_another_pool(lab: Lab, pool: str) -> None:
    job_id = lab.job("nowhere")
    task_id = lab.task(job_id)
    info = m.BatchPoolInfo(pool_id=pool)
    with pytest.raises(HttpResponseError) as caught:
        lab.client.update_job(job_id, m.BatchJobUpdateOptions(pool_info=info))
    assert caught.value.error.code == "OperationInvalidForCurrentState"
    options = m.BatchJobDisableOptions(disable_tasks="requeue")
    lab.client.begin_disable_job(job_id, options, polling_interval=0).wait()
    lab.client.update_job(job_id, m.BatchJobUpdateOptions(pool_info=info))
    lab.client.begin_enable_job(job_id, polling_interval=0).wait()
    assert lab.completed(job_id, task_id).node_info.pool_id == pool


def test_put_resets_absent_properties(lab: Lab, pool: str) -> None:
    item = m.BatchMetadataItem(name="k", value="v")
    job_id = lab.job(pool, priority=7, metadata=[item])
    job = lab.client.get_job(job_id)
    lab.client.replace_job(job_id, m.BatchJob(pool_info=job.pool_info, priority=9))
    job = lab.client.get_job(job_id)
    assert (job.priority, job.metadata) == (9, None)


def test_patch_keeps_absent_properties(lab: Lab, pool: str) -> None:
    item = m.BatchMetadataItem(name="k", value="v")
    job_id = lab.job(pool, priority=7, metadata=[item])
    lab.client.update_job(job_id, m.BatchJobUpdateOptions(max_parallel_tasks=3))
    job = lab.client.get_job(job_id)
    assert (job.priority, job.max_parallel_tasks, job.metadata[0].name) == (7, 3, "k")


def test_jobs_run_by_priority(lab: Lab, tmp_path: Any) -> None:
    pool_id = lab.pool()
    log = tmp_path / "log"
    blocker = lab.job(pool_id)
    first = lab.task(blocker, f"until test -e {log}.go; do sleep 0.02; done")
    lab.state(blocker, first, "running")
    tasks = {}
    for priority in (-5, 10, 0):
        job_id = lab.job(pool_id, priority=priority)
        tasks[job_id] = lab.task(job_id, f"echo {priority} >> {log}")
    (tmp_path / "log.go").touch()
    for job_id, task_id in tasks.items():
        lab.completed(job_id, task_id)
    assert log.read_text().split() == ["10", "0", "-5"]


def test_a_job_runs_no_more_tasks_in_parallel_than_its_limit(
    lab: Lab, pool: str, tmp_path: Any
) -> None:
    job_id = lab.job(pool, max_parallel_tasks=1)
    script = f"mkdir {tmp_path}/lock || exit 9; sleep 0.05; rmdir {tmp_path}/lock"
    tasks = [lab.task(job_id, script) for _ in range(4)]
    assert {lab.completed(job_id, each).execution_info.exit_code for each in tasks} == {0}


def test_every_task_has_the_common_environment_of_its_job(lab: Lab, pool: str) -> None:
    common = [
        m.EnvironmentSetting(name="A", value="job"),
        m.EnvironmentSetting(name="B", value="job"),
    ]
    job_id = lab.job(pool, common_environment_settings=common)
    own = [m.EnvironmentSetting(name="B", value="task")]
    task_id = lab.task(job_id, "echo $A $B", environment_settings=own)
    assert lab.output(lab.completed(job_id, task_id)) == "job task\n"


@pytest.mark.parametrize(
    "unsupported",
    [
        {"usesTaskDependencies": True},
        {"jobManagerTask": {"id": "a", "commandLine": "b"}},
        {"jobPreparationTask": {"commandLine": "b"}},
        {"jobReleaseTask": {"commandLine": "b"}},
        {"poolInfo": {"poolId": "p", "autoPoolSpecification": {"poolLifetimeOption": "job"}}},
    ],
)
def test_unsupported_properties_are_refused_by_name(lab: Lab, unsupported: dict[str, Any]) -> None:
    response = lab.send(
        "POST", "/jobs", json={"id": "j", "poolInfo": {"poolId": "p"}} | unsupported
    )
    assert (response.status_code, response.json()["code"]) == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"poolInfo": {"poolId": "p"}}, "MissingRequiredProperty"),
        ({"id": "j"}, "MissingRequiredProperty"),
        ({"id": "j", "poolInfo": {}}, "MissingRequiredProperty"),
        ({"id": "j" * 65, "poolInfo": {"poolId": "p"}}, "InvalidPropertyValue"),
        ({"id": "j", "poolInfo": {"poolId": "p"}, "priority": 1001}, "InvalidPropertyValue"),
        ({"id": "j", "poolInfo": {"poolId": "p"}, "priority": "one"}, "InvalidPropertyValue"),
        (
            {"id": "j", "poolInfo": {"poolId": "p"}, "constraints": {"maxWallClockTime": "P"}},
            "InvalidPropertyValue",
        ),
    ],
)
def test_a_job_that_azure_would_refuse_is_refused(lab: Lab, body: Any, code: str) -> None:
    assert lab.refused("POST", "/jobs", json=body) == (400, code)
