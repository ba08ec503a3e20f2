"""Faults on demand, through the real client."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ServiceResponseError
from azure.core.rest import HttpRequest

from lab import Blobs, FaultOrders, Lab, NewLab, until

ORDERED = "This failure was ordered as a fault.\n"


def status(lab: Lab, path: str = "/jobs") -> int:
    return int(lab.send("GET", path).status_code)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (408, "OperationTimedOut"),
        (409, "OperationInvalidForCurrentState"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServerBusy"),
    ],
)
def test_requests_are_refused_as_many_times_as_ordered(
    lab: Lab, faults: FaultOrders, code: int, name: str
) -> None:
    faults.order("answer", status=code, times=2, retryAfter=7)
    response = lab.send("GET", "/jobs")
    assert (response.status_code, response.json()["code"]) == (code, name)
    assert response.headers["Retry-After"] == "7"
    assert [status(lab), status(lab)] == [code, 200]


def test_only_the_operations_that_match_are_refused(lab: Lab, faults: FaultOrders) -> None:
    faults.order("answer", status=503, operation="GET /jobs/*")
    assert (status(lab, "/jobs"), status(lab, "/jobs/none")) == (200, 503)
    assert "Retry-After" not in lab.send("GET", "/jobs/none").headers
    faults.clear()
    assert status(lab, "/jobs/none") == 404


def test_the_client_retries_temporary_errors(lab: Lab, faults: FaultOrders) -> None:
    credential = AzureNamedKeyCredential("localbatch", lab.key)
    faults.order("answer", status=503, times=2)
    with BatchClient(lab.url, credential, retry_backoff_factor=0.01) as client:
        assert list(client.list_pools()) == []


def test_chance_is_the_same_from_the_same_seed(lab: Lab, faults: FaultOrders) -> None:
    seen = []
    for seed in (1, 1, 2):
        faults.clear()
        faults.order("seed", seed=seed)
        faults.order("answer", status=500, chance=0.5)
        seen.append([status(lab) for _ in range(30)])
    assert seen[0] == seen[1] != seen[2]
    assert set(seen[0]) == {200, 500}


def test_a_connection_dropped_before_the_change_leaves_nothing_changed(
    lab: Lab, faults: FaultOrders
) -> None:
    faults.order("drop", when="before", operation="POST /jobs", times=1)
    with pytest.raises(ServiceResponseError):
        lab.job("nowhere")
    assert not list(lab.client.list_jobs())


def test_a_connection_dropped_after_the_change_leaves_the_change_made(
    lab: Lab, faults: FaultOrders
) -> None:
    faults.order("drop", when="after", operation="POST /jobs", times=1)
    with pytest.raises(ServiceResponseError):
        lab.job("nowhere")
    assert len(list(lab.client.list_jobs())) == 1


def test_an_evicted_node_returns_with_its_id_and_an_empty_disk(
    lab: Lab, pool: str, faults: FaultOrders
) -> None:
    (node,) = lab.client.list_nodes(pool)
    job_id = lab.job(pool)
    task_id = lab.task(job_id, "test -e again && exit 9; touch again; echo on; sleep 30")
    lab.state(job_id, task_id, "running")
    until(lambda: "on" in lab.output(lab.client.get_task(job_id, task_id)))
    faults.order("evict", pool=pool, node=node.id, returnSeconds=3600)
    until(lambda: lab.client.get_node(pool, node.id).state == "preempted")
    until(lambda: not (lab.data / pool / node.id).exists())
    task = lab.client.get_task(job_id, task_id)
    assert (task.state, task.execution_info.requeue_count) == ("active", 0)
    assert lab.client.get_pool(pool).target_low_priority_nodes == 1
    faults.clear()
    lab.state(job_id, task_id, "running")
    until(lambda: "on" in lab.output(lab.client.get_task(job_id, task_id)))


def test_an_evicted_task_restarts_only_after_its_old_process_has_ended(
    lab: Lab, faults: FaultOrders, tmp_path: Path
) -> None:
    pool_id = lab.pool(2)
    job_id = lab.job(pool_id)
    pid, clash = tmp_path / "pid", tmp_path / "clash"
    again = f"kill -0 $(cat {pid}) && touch {clash}; exit 0"
    first = f"echo $$ > {pid}; while :; do sleep 0.02; done"
    script = f"trap '' TERM; test -e {pid} && {{ {again}; }}; {first}"
    task_id = lab.task(job_id, script)
    node_id = lab.state(job_id, task_id, "running").node_info.node_id
    until(lambda: pid.exists() and pid.read_text())
    faults.order("evict", pool=pool_id, node=node_id)
    task = lab.completed(job_id, task_id)
    assert (task.execution_info.exit_code, clash.exists()) == (0, False)


def test_a_node_can_be_evicted_after_a_delay_and_permanently(
    lab: Lab, pool: str, faults: FaultOrders
) -> None:
    (node,) = lab.client.list_nodes(pool)
    faults.stop_clock()
    faults.order("evict", pool=pool, node=node.id, afterSeconds=0.1, returnSeconds=None)
    assert lab.client.get_node(pool, node.id).state == "idle"
    faults.start_clock()
    until(lambda: lab.client.get_node(pool, node.id).state == "preempted")
    (counts,) = lab.client.list_pool_node_counts()
    assert counts.low_priority.preempted == 1
    lab.client.begin_delete_pool(pool, polling_interval=0).wait()


def test_the_node_of_any_task_can_be_evicted(lab: Lab, faults: FaultOrders) -> None:
    pool_id = lab.pool(2, task_slots_per_node=2)
    faults.order("seed", seed=3)
    faults.order("evict", chance=0.3)
    job_id = lab.job(pool_id)
    tasks = [lab.task(job_id, "sleep 0.02") for _ in range(20)]
    codes = {lab.completed(job_id, task_id).execution_info.exit_code for task_id in tasks}
    assert codes == {0}


def test_the_node_of_a_named_task_is_evicted(lab: Lab, faults: FaultOrders) -> None:
    pool_id = lab.pool(2)
    faults.order("evict", task="doomed", times=1, returnSeconds=None)
    job_id = lab.job(pool_id)
    spared = lab.task(job_id)
    assert lab.completed(job_id, spared).execution_info.exit_code == 0
    lab.completed(job_id, lab.task(job_id, "sleep 0.3", id="doomed"))
    states = [node.state for node in lab.client.list_nodes(pool_id)]
    assert sorted(states) == ["idle", "preempted"]


def test_a_dedicated_node_is_never_evicted(lab: Lab, faults: FaultOrders) -> None:
    pool_id = lab.pool(target_dedicated_nodes=1, target_low_priority_nodes=0)
    (node,) = lab.client.list_nodes(pool_id)
    body = {"kind": "evict", "pool": pool_id, "node": node.id}
    answer = lab.refused("POST", "/_local/faults", json=body)
    assert answer == (409, "OperationInvalidForCurrentState")
    faults.order("evict")
    assert lab.run(pool_id).execution_info.result == "success"
    assert lab.client.get_node(pool_id, node.id).state == "idle"


def test_start_tasks_fail_on_the_ordered_number_of_nodes_or_on_all(
    lab: Lab, faults: FaultOrders
) -> None:
    for nodes, expected in [(1, ["idle", "starttaskfailed"]), (None, ["starttaskfailed"] * 2)]:
        faults.order("starttask", nodes=nodes, exitCode=100)
        start = m.BatchStartTask(command_line="true", max_task_retry_count=1)
        pool_id = lab.pool(0, start_task=start)
        grow = m.BatchPoolResizeOptions(target_low_priority_nodes=2)
        lab.client.begin_resize_pool(pool_id, grow, polling_interval=0).wait()

        def states(pool_id: str = pool_id) -> list[str]:
            return sorted(str(node.state.value) for node in lab.client.list_nodes(pool_id))

        until(lambda states=states, expected=expected: states() == expected)
        failed = next(
            node for node in lab.client.list_nodes(pool_id) if node.state == "starttaskfailed"
        )
        assert (failed.start_task_info.exit_code, failed.start_task_info.retry_count) == (100, 1)
        words = lab.client.download_node_file(pool_id, failed.id, "startup/stderr.txt")
        assert b"".join(words).decode() == ORDERED
        faults.clear()


@pytest.mark.parametrize(
    "code",
    [
        "AccountCoreQuotaReached",
        "AccountLowPriorityCoreQuotaReached",
        "AccountSpotCoreQuotaReached",
        "AllocationFailed",
        "AllocationTimedout",
        "UnsupportedVMSize",
    ],
)
def test_a_pool_that_cannot_grow_reports_a_resize_error(
    lab: Lab, faults: FaultOrders, code: str
) -> None:
    faults.order("resize", code=code)
    target = "dedicated" if code == "AccountCoreQuotaReached" else "low_priority"
    wanted = {f"target_{target}_nodes": 2}
    lab.client.create_pool(lab.pool_options("stuck", **wanted))
    pool = until(lambda: (p := lab.client.get_pool("stuck")).allocation_state == "steady" and p)
    (error,) = pool.resize_errors
    assert (error.code, error.error_values[0].name) == (code, "Reason")
    assert not list(lab.client.list_nodes("stuck"))
    faults.clear()
    again = m.BatchPoolResizeOptions(**wanted)
    lab.client.begin_resize_pool("stuck", again, polling_interval=0).wait()
    lab.nodes("stuck", count=2)
    assert not lab.client.get_pool("stuck").resize_errors


def test_a_size_with_more_cores_than_the_quota_gets_no_node(lab: Lab) -> None:
    options = lab.pool_options("large", target_dedicated_nodes=1, vm_size="Standard_M416ms_v2")
    lab.client.create_pool(options)
    pool = until(lambda: (p := lab.client.get_pool("large")).resize_errors and p)
    assert [error.code for error in pool.resize_errors] == ["AccountCoreQuotaReached"]
    assert not pool.current_dedicated_nodes


def test_a_resize_error_stays_while_the_formula_asks_for_the_nodes_that_there_are(
    lab: Lab, faults: FaultOrders
) -> None:
    faults.order("resize", code="AllocationTimedout", times=1)
    lab.client.create_pool(lab.pool_options("stale", target_low_priority_nodes=1))
    until(lambda: lab.client.get_pool("stale").resize_errors)
    ended = lab.client.get_pool("stale").allocation_state_transition_time
    formula = m.BatchPoolEnableAutoScaleOptions(auto_scale_formula="$TargetLowPriorityNodes = 0;")
    lab.client.enable_pool_auto_scale("stale", formula)
    pool = lab.client.get_pool("stale")
    assert pool.target_low_priority_nodes == 0
    assert pool.allocation_state_transition_time == ended
    assert [error.code for error in pool.resize_errors] == ["AllocationTimedout"]


def test_counts_lag_behind_and_catch_up(lab: Lab, pool: str, faults: FaultOrders) -> None:
    faults.stop_clock()
    faults.order("lag", seconds=0.1)
    job_id = lab.job(pool)
    task_id = lab.task(job_id)
    lab.completed(job_id, task_id)
    counts = lab.client.get_job_task_counts(job_id).task_counts
    assert (counts.active, counts.completed) == (0, 0)
    faults.start_clock()
    until(lambda: lab.client.get_job_task_counts(job_id).task_counts.completed == 1)


def test_a_lag_ends_when_faults_are_cleared(lab: Lab, pool: str, faults: FaultOrders) -> None:
    faults.order("lag", seconds=3600)
    job_id = lab.job(pool)
    lab.completed(job_id, lab.task(job_id))
    assert lab.client.get_job_task_counts(job_id).task_counts.completed == 0
    faults.clear()
    assert lab.client.get_job_task_counts(job_id).task_counts.completed == 1


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("BlobNotFound", "usererror"),
        ("BlobAccessDenied", "usererror"),
        ("BlobDownloadTimedOut", "servererror"),
        ("ResourceDirectoryCreateFailed", "servererror"),
        ("ResourceFileCreateFailed", "servererror"),
        ("ResourceFileWriteFailed", "servererror"),
    ],
)
def test_a_download_fails_if_ordered(
    lab: Lab, pool: str, faults: FaultOrders, code: str, category: str
) -> None:
    faults.order("download", code=code, times=1)
    file = m.ResourceFile(http_url=f"{lab.url}/", file_path="a")
    info = lab.run(pool, resource_files=[file]).execution_info
    assert (info.exit_code, info.failure_info.code) == (None, code)
    assert (info.failure_info.category, info.failure_info.details[0].name) == (category, "Reason")
    assert lab.run(pool).execution_info.result == "success"


@pytest.mark.parametrize("code", ["FileUploadAccessDenied", "FileUploadContainerNotFound"])
def test_an_upload_fails_if_ordered(
    lab: Lab, pool: str, blobs: Blobs, faults: FaultOrders, code: str
) -> None:
    target = blobs.container()
    container = m.OutputFileBlobContainerDestination(
        container_url=blobs.url(target, permission="w")
    )
    file = m.OutputFile(
        file_pattern="f",
        destination=m.OutputFileDestination(container=container),
        upload_options=m.OutputFileUploadConfiguration(upload_condition="tasksuccess"),
    )
    faults.order("upload", code=code, times=1)
    task = lab.run(pool, "touch f", output_files=[file])
    info = task.execution_info
    assert (info.exit_code, info.failure_info.code) == (0, code)
    assert code in lab.output(task, "fileuploaderr.txt")
    assert list(target.list_blob_names()) == []
    info = lab.run(pool, "touch f", output_files=[file]).execution_info
    assert (info.result, list(target.list_blob_names())) == ("success", ["f"])


def test_the_task_of_a_lost_node_runs_on_another_node(lab: Lab, faults: FaultOrders) -> None:
    pool_id = lab.pool(2)
    job_id = lab.job(pool_id)
    first = lab.data / pool_id / "first"
    script = "mkdir $AZ_BATCH_NODE_ROOT_DIR/../first 2>/dev/null && sleep 30; exit 0"
    task_id = lab.task(job_id, script)
    until(first.is_dir)
    node_id = lab.state(job_id, task_id, "running").node_info.node_id
    faults.order("lose", pool=pool_id, node=node_id)
    task = lab.completed(job_id, task_id)
    assert (task.execution_info.exit_code, task.execution_info.requeue_count) == (0, 1)
    assert task.node_info.node_id != node_id
    lost = lab.client.get_node(pool_id, node_id)
    assert (lost.state, [error.code for error in lost.errors]) == ("unusable", ["NodeUnusable"])


def test_boots_take_as_long_as_ordered(lab: Lab, faults: FaultOrders) -> None:
    faults.stop_clock()
    faults.order("boot", seconds=0.1)
    lab.client.create_pool(lab.pool_options("slow", target_low_priority_nodes=1))
    lab.nodes("slow", count=1, state="starting")
    faults.start_clock()
    lab.nodes("slow", count=1)


def test_a_boot_ends_when_faults_are_cleared(lab: Lab, faults: FaultOrders) -> None:
    faults.order("boot", seconds=3600)
    lab.client.create_pool(lab.pool_options("slow", target_low_priority_nodes=1))
    lab.nodes("slow", count=1, state="starting")
    faults.clear()
    lab.nodes("slow", count=1)


def test_a_task_starts_after_the_ordered_delay_and_holds_its_slots_until_then(
    lab: Lab, faults: FaultOrders
) -> None:
    pool_id = lab.pool(task_slots_per_node=1)
    faults.order("schedule", seconds=0.5, task="slow-*", times=1)
    job_id = lab.job(pool_id)
    for task_id in ("slow-1", "fast", "slow-2"):
        lab.task(job_id, id=task_id)
    slow, fast, later = (lab.completed(job_id, each) for each in ("slow-1", "fast", "slow-2"))
    delay = slow.execution_info.start_time - slow.creation_time
    assert timedelta(seconds=0.5) <= delay
    assert fast.execution_info.start_time >= slow.execution_info.end_time
    assert later.execution_info.start_time - fast.execution_info.end_time < delay


@pytest.mark.parametrize("what", ["terminate", "delete", "evict", "disable"])
def test_a_task_that_waits_for_its_start_can_be_ended_or_queued_again(
    lab: Lab, pool: str, faults: FaultOrders, what: str
) -> None:
    faults.order("schedule", seconds=3600, times=1)
    job_id = lab.job(pool)
    task_id = lab.task(job_id)
    (node,) = lab.client.list_nodes(pool)
    until(lambda: lab.client.get_node(pool, node.id).running_task_slots_count == 1)
    assert lab.client.get_task(job_id, task_id).state == "active"
    match what:
        case "terminate":
            lab.client.terminate_task(job_id, task_id)
        case "delete":
            lab.client.delete_task(job_id, task_id)
        case "evict":
            faults.order("evict", pool=pool, node=node.id)
        case "disable":
            lab.client.begin_disable_job(job_id, {"disableTasks": "requeue"}).wait()
            lab.client.begin_enable_job(job_id).wait()
    if what != "delete":
        info = lab.completed(job_id, task_id).execution_info
        assert (info.start_time is None) == (what == "terminate")
        assert info.requeue_count == 0
    until(lambda: lab.client.get_node(pool, node.id).running_task_slots_count == 0)
    if what != "evict":  # the node itself is gone
        run = 0 if what in ("terminate", "delete") else 1
        assert lab.client.get_node(pool, node.id).total_tasks_run == run


def test_the_clock_can_run_faster(lab: Lab, pool: str, faults: FaultOrders) -> None:
    job_id = lab.job(
        pool, constraints=m.BatchJobConstraints(max_wall_clock_time=timedelta(hours=1))
    )
    task_id = lab.task(job_id, "sleep 30")
    lab.state(job_id, task_id, "running")
    faults.order("clock", rate=7200)
    job = lab.job_state(job_id, "completed")
    assert job.execution_info.termination_reason == "MaxWallClockTimeExpiry"
    passed = job.execution_info.end_time - job.execution_info.start_time
    assert passed >= timedelta(hours=1)


def test_orders_are_listed_and_checked_and_signed(lab: Lab, faults: FaultOrders) -> None:
    faults.order("boot", seconds=2)
    standing = lab.send("GET", "/_local/faults").json()["value"]
    assert standing == [{"kind": "boot", "pool": "*", "seconds": 2.0}]
    faults.order("lag", seconds=1)
    faults.order("lag", seconds=2)
    standing = lab.send("GET", "/_local/faults").json()["value"]
    assert standing[1:] == [{"kind": "lag", "seconds": 2.0}]
    for wrong in (
        {"kind": "earthquake"},
        {"kind": "boot"},
        {"kind": "boot", "seconds": -1},
        {"kind": "boot", "seconds": 1, "pol": "p"},
        {"kind": "upload", "code": "BlobNotFound"},
    ):
        assert lab.send("POST", "/_local/faults", json=wrong).status_code == 400
    unsigned = HttpRequest("GET", "/_local/faults?api-version=2025-06-01")
    with lab.connect(key="AAAA") as client, pytest.raises(HttpResponseError) as caught:
        client.send_request(unsigned)
    assert caught.value.status_code == 403


def test_an_error_in_the_service_makes_the_node_unusable_and_requeues_the_task(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    pool_id = lab.pool(2)
    broken, good = lab.client.list_nodes(pool_id)
    lab.client.disable_node_scheduling(pool_id, good.id, {"nodeDisableSchedulingOption": "requeue"})
    items = lab.data / pool_id / broken.id / "workitems"
    items.rmdir()
    items.touch()
    job_id = lab.job(pool_id)
    task_id = lab.task(job_id)
    until(lambda: lab.client.get_node(pool_id, broken.id).state == "unusable")
    assert lab.client.get_task(job_id, task_id).state == "active"
    assert f"worker {job_id}/{task_id} on {broken.id} died" in caplog.text
    lab.client.enable_node_scheduling(pool_id, good.id)
    assert lab.completed(job_id, task_id).node_info.node_id == good.id


def test_a_task_fails_after_three_nodes_became_unusable(
    lab: Lab,
) -> None:
    pool_id = lab.pool(4)
    for node in lab.client.list_nodes(pool_id):
        items = lab.data / pool_id / node.id / "workitems"
        items.rmdir()
        items.touch()
    task = lab.run(pool_id)
    assert task.execution_info.failure_info.category == "servererror"
    (detail,) = task.execution_info.failure_info.details
    assert detail.value == "3 nodes became unusable while they ran the task"
    states = [node.state for node in lab.client.list_nodes(pool_id)]
    assert sorted(states) == ["idle", "unusable", "unusable", "unusable"]


def test_a_pool_has_no_nodes_after_the_deadline_in_its_formula(
    new_lab: NewLab,
) -> None:
    lab = new_lab()  # the clock stays fast
    deadline = datetime.now(UTC) + timedelta(hours=1)
    formula = f'$TargetLowPriorityNodes = time() < time("{deadline.isoformat()}") ? 2 : 0;'
    pool_id = lab.pool(
        2,
        enable_auto_scale=True,
        auto_scale_formula=formula,
        auto_scale_evaluation_interval=timedelta(minutes=5),
    )
    job_id = lab.job(pool_id)
    task_id = lab.task(job_id, "sleep 60")
    lab.state(job_id, task_id, "running")
    lab.send("POST", "/_local/faults", json={"kind": "clock", "rate": 7200})
    lab.nodes(pool_id, count=0)
    run = lab.client.get_pool(pool_id).auto_scale_run
    assert run.timestamp > deadline
    assert "$TargetLowPriorityNodes=0" in run.results
    assert lab.client.get_task(job_id, task_id).state == "active"


@pytest.mark.parametrize(
    ("code", "nodes"),
    [("AccountCoreQuotaReached", (1, 0)), ("AccountSpotCoreQuotaReached", (0, 1))],
)
def test_a_quota_error_is_for_one_kind_of_node_only(
    lab: Lab, faults: FaultOrders, code: str, nodes: tuple[int, int]
) -> None:
    faults.order("resize", code=code)
    pool_id = lab.pool(target_low_priority_nodes=1, target_dedicated_nodes=1)
    pool = lab.client.get_pool(pool_id)
    assert (pool.current_low_priority_nodes, pool.current_dedicated_nodes) == nodes
    assert [error.code for error in pool.resize_errors] == [code]


@pytest.mark.parametrize(("seconds", "status"), [(600, 200), (1200, 403), (-1200, 403)])
def test_requests_are_checked_by_the_skewed_clock(
    lab: Lab, faults: FaultOrders, seconds: int, status: int
) -> None:
    faults.order("skew", seconds=seconds)
    response = lab.send("GET", "/pools")
    assert response.status_code == status
    date = parsedate_to_datetime(response.headers["Date"])
    assert abs((date - datetime.now(UTC)).total_seconds() - seconds) < 10
