"""Pools, through the real client."""

from datetime import timedelta
from typing import Any

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpResponse

from lab import FaultOrders, Lab, NewLab, Stubborn, until

EMPTY = (
    "$TargetDedicatedNodes = 0; $TargetLowPriorityNodes = 0;"
    " $NodeDeallocationOption = taskcompletion;"
)
ONE_SPOT_NODE = "$TargetLowPriorityNodes = 1;"
FORMULA = '$TargetLowPriorityNodes = time() < time("2100-01-01T00:00:00Z") ? 2 : 0;'


def test_a_pool_shows_its_properties_and_the_defaults(lab: Lab) -> None:
    pool_id = lab.pool(
        nodes=1,
        display_name="Clips",
        task_slots_per_node=2,
        metadata=[m.BatchMetadataItem(name="owner", value="me")],
    )
    pool = lab.client.get_pool(pool_id)
    assert (pool.id, pool.display_name, pool.state) == (pool_id, "Clips", "active")
    assert pool.vm_size == "STANDARD_D2S_V3"
    assert (pool.task_slots_per_node, pool.target_dedicated_nodes) == (2, 0)
    assert (pool.current_low_priority_nodes, pool.target_low_priority_nodes) == (1, 1)
    assert pool.resize_timeout == timedelta(minutes=15)
    assert pool.enable_auto_scale is False
    assert [(item.name, item.value) for item in pool.metadata] == [("owner", "me")]
    assert pool.url == f"{lab.url}/pools/{pool_id}"
    assert pool.virtual_machine_configuration.node_agent_sku_id == "batch.node.ubuntu 24.04"


def test_dedicated_and_spot_nodes_are_counted_separately(lab: Lab) -> None:
    pool_id = lab.pool(nodes=2, target_dedicated_nodes=1, target_low_priority_nodes=1)
    assert sorted(node.is_dedicated for node in lab.client.list_nodes(pool_id)) == [False, True]
    (counts,) = lab.client.list_pool_node_counts(filter=f"poolId eq '{pool_id}'")
    assert (counts.dedicated.idle, counts.dedicated.total) == (1, 1)
    assert (counts.low_priority.idle, counts.low_priority.total) == (1, 1)


def test_ids_ignore_case(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0)
    assert lab.client.get_pool(pool_id.upper()).id == pool_id
    with pytest.raises(ResourceExistsError) as caught:
        lab.client.create_pool(lab.pool_options(pool_id.upper()))
    assert caught.value.error.code == "PoolExists"


def test_an_unknown_pool_is_not_found(lab: Lab) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        lab.client.get_pool("none")
    assert caught.value.error.code == "PoolNotFound"


def test_a_pool_exists_until_it_is_deleted(lab: Lab) -> None:
    pool_id = lab.pool(nodes=1)
    assert lab.client.pool_exists(pool_id) is True
    poller = lab.client.begin_delete_pool(pool_id, polling_interval=0)
    poller.wait()
    assert poller.status() == "Succeeded"
    assert lab.send("HEAD", f"/pools/{pool_id}").status_code == 404
    assert not (lab.data / pool_id).exists()


def test_a_pool_that_is_being_deleted_accepts_no_change(lab: Lab, stubborn: Stubborn) -> None:
    pool_id = lab.pool(nodes=1)
    job_id = lab.job(pool_id)
    task_id = lab.task(job_id, stubborn.script)
    lab.state(job_id, task_id, "running")
    until(lambda: "on" in lab.output(lab.client.get_task(job_id, task_id)))
    assert lab.send("DELETE", f"/pools/{pool_id}").status_code == 202
    assert lab.client.get_pool(pool_id).state == "deleting"
    change = m.BatchPoolUpdateOptions(display_name="x")
    with pytest.raises(HttpResponseError) as caught:
        lab.client.update_pool(pool_id, change)
    assert caught.value.error.code == "PoolBeingDeleted"
    with pytest.raises(HttpResponseError) as caught:
        lab.client.create_pool(lab.pool_options(pool_id))
    assert caught.value.error.code == "PoolBeingDeleted"
    lab.state(job_id, task_id, "active")


def test_a_pool_grows_and_shrinks_to_its_targets(lab: Lab) -> None:
    pool_id = lab.pool(nodes=1)
    grow = m.BatchPoolResizeOptions(target_low_priority_nodes=3, target_dedicated_nodes=1)
    lab.client.begin_resize_pool(pool_id, grow, polling_interval=0).wait()
    lab.nodes(pool_id, count=4)
    shrink = m.BatchPoolResizeOptions(target_low_priority_nodes=0)
    lab.client.begin_resize_pool(pool_id, shrink, polling_interval=0).wait()
    (node,) = lab.nodes(pool_id, count=1)
    assert node.is_dedicated is True


def test_a_pool_is_resizing_before_the_request_is_answered(lab: Lab) -> None:
    pool_id = lab.pool(nodes=1)
    job_id = lab.job(pool_id)
    task_id = lab.task(job_id, "sleep 30")
    lab.state(job_id, task_id, "running")
    body = {"targetLowPriorityNodes": 0, "nodeDeallocationOption": "taskcompletion"}
    assert lab.send("POST", f"/pools/{pool_id}/resize", json=body).status_code == 202
    assert lab.client.get_pool(pool_id).allocation_state == "resizing"
    answer = lab.refused("POST", f"/pools/{pool_id}/resize", json=body)
    assert answer == (409, "PoolBeingResized")
    lab.client.begin_stop_pool_resize(pool_id, polling_interval=0).wait()
    pool = lab.client.get_pool(pool_id)
    assert pool.allocation_state == "steady"
    assert [error.code for error in pool.resize_errors] == ["ResizeStopped"]


def test_only_a_running_resize_can_be_stopped(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0)
    answer = lab.refused("POST", f"/pools/{pool_id}/stopresize")
    assert answer == (409, "OperationInvalidForCurrentState")


def test_shrinking_requeues_running_tasks(lab: Lab) -> None:
    pool_id = lab.pool(nodes=1)
    job_id = lab.job(pool_id)
    task_id = lab.task(job_id, "sleep 30")
    lab.state(job_id, task_id, "running")
    none = m.BatchPoolResizeOptions(target_low_priority_nodes=0)
    lab.client.begin_resize_pool(pool_id, none, polling_interval=0).wait()
    task = lab.state(job_id, task_id, "active")
    assert task.execution_info.requeue_count == 1
    assert task.node_info is None


def test_shrinking_can_end_running_tasks(lab: Lab) -> None:
    pool_id = lab.pool(nodes=1)
    job_id = lab.job(pool_id)
    task_id = lab.task(job_id, "sleep 30")
    lab.state(job_id, task_id, "running")
    none = m.BatchPoolResizeOptions(
        target_low_priority_nodes=0, node_deallocation_option="terminate"
    )
    lab.client.begin_resize_pool(pool_id, none, polling_interval=0).wait()
    task = lab.completed(job_id, task_id)
    assert task.execution_info.failure_info.code == "TaskEnded"


def test_the_quota_is_for_all_pools_and_freed_nodes_are_shared(new_lab: NewLab) -> None:
    lab = new_lab(max_nodes=3)
    first = lab.pool(nodes=2)
    lab.client.create_pool(
        lab.pool_options("second", target_dedicated_nodes=2, target_low_priority_nodes=1)
    )
    lab.nodes("second", count=1)
    pool = lab.client.get_pool("second")
    codes = [error.code for error in pool.resize_errors]
    assert codes == ["AccountCoreQuotaReached", "AccountSpotCoreQuotaReached"]
    assert (pool.current_dedicated_nodes, pool.current_low_priority_nodes) == (1, 0)
    lab.client.begin_delete_pool(first, polling_interval=0).wait()
    lab.nodes("second", count=3)
    until(lambda: not lab.client.get_pool("second").resize_errors)


def test_a_formula_is_applied_immediately(lab: Lab) -> None:
    pool_id = lab.pool(
        nodes=2,
        enable_auto_scale=True,
        auto_scale_formula=FORMULA,
        auto_scale_evaluation_interval=timedelta(minutes=5),
    )
    pool = lab.client.get_pool(pool_id)
    assert (pool.enable_auto_scale, pool.auto_scale_formula) == (True, FORMULA)
    assert pool.auto_scale_evaluation_interval == timedelta(minutes=5)
    assert "$TargetLowPriorityNodes=2" in pool.auto_scale_run.results
    answer = lab.refused("POST", f"/pools/{pool_id}/resize", json={"targetDedicatedNodes": 1})
    assert answer == (409, "OperationInvalidForCurrentState")


def test_autoscale_is_switched_on_evaluated_and_switched_off(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0)
    options = m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=FORMULA)
    lab.client.enable_pool_auto_scale(pool_id, options)
    lab.nodes(pool_id, count=2)
    run = lab.client.evaluate_pool_auto_scale(
        pool_id, m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula="$TargetDedicatedNodes=1")
    )
    assert run.results.startswith("$TargetDedicatedNodes=1;$TargetLowPriorityNodes=2")
    lab.client.disable_pool_auto_scale(pool_id)
    pool = lab.client.get_pool(pool_id)
    assert (pool.enable_auto_scale, pool.auto_scale_formula) == (False, None)
    assert pool.current_low_priority_nodes == 2


def test_an_error_in_a_formula_is_part_of_the_answer(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0, enable_auto_scale=True, auto_scale_formula=EMPTY)
    options = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula="$Cores=1")
    run = lab.client.evaluate_pool_auto_scale(pool_id, options)
    assert run.error.code == "AutoScalingFormulaEvaluationError"


def test_pending_tasks_are_those_that_wait_and_those_that_run(lab: Lab) -> None:
    pool_id = lab.pool(nodes=1, task_slots_per_node=1)
    job_id = lab.job(pool_id)
    first, *_ = [lab.task(job_id, "sleep 60") for _ in range(3)]
    lab.state(job_id, first, "running")
    formula = "$TargetDedicatedNodes = $PendingTasks;"
    body = m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=EMPTY)
    lab.client.enable_pool_auto_scale(pool_id, body)
    options = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
    run = lab.client.evaluate_pool_auto_scale(pool_id, options)
    assert run.results.startswith("$TargetDedicatedNodes=3;")


def test_a_formula_cannot_be_evaluated_twice_within_30_seconds(
    lab: Lab, faults: FaultOrders
) -> None:
    pool_id = lab.pool(nodes=0, enable_auto_scale=True, auto_scale_formula=EMPTY)

    def evaluate() -> HttpResponse:
        body = {"autoScaleFormula": FORMULA}
        return lab.send("POST", f"/pools/{pool_id}/evaluateautoscale", json=body)

    assert evaluate().status_code == 200
    again = evaluate()
    assert (again.status_code, again.json()["code"]) == (429, "TooManyRequests")
    faults.order("clock", rate=600)
    until(lambda: evaluate().status_code == 200)


def test_autoscale_cannot_be_enabled_during_a_resize(lab: Lab) -> None:
    pool_id = lab.pool(nodes=1, enable_auto_scale=True, auto_scale_formula=ONE_SPOT_NODE)
    job_id = lab.job(pool_id)
    lab.state(job_id, lab.task(job_id, "sleep 60"), "running")
    shrink = m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=EMPTY)
    lab.client.enable_pool_auto_scale(pool_id, shrink)  # it waits for the task
    again = lab.refused("POST", f"/pools/{pool_id}/enableautoscale", json={})
    assert again == (409, "PoolBeingResized")


def test_autoscale_cannot_be_enabled_twice_within_30_seconds(lab: Lab, faults: FaultOrders) -> None:
    pool_id = lab.pool(nodes=0)

    def enable() -> HttpResponse:
        body = {"autoScaleFormula": FORMULA}
        return lab.send("POST", f"/pools/{pool_id}/enableautoscale", json=body)

    assert enable().status_code == 200
    again = enable()
    assert (again.status_code, again.json()["code"]) == (503, "TooManyEnableAutoScaleRequests")
    faults.order("clock", rate=600)
    until(lambda: enable().status_code == 200)


def test_a_formula_is_evaluated_only_if_autoscale_is_on(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0)
    body = {"autoScaleFormula": FORMULA}
    answer = lab.refused("POST", f"/pools/{pool_id}/evaluateautoscale", json=body)
    assert answer == (409, "OperationInvalidForCurrentState")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"enable_auto_scale": True}, "MissingRequiredProperty"),
        (
            {"enable_auto_scale": True, "auto_scale_formula": "$TargetDedicated = nonsense("},
            "AutoScalingFormulaEvaluationError",
        ),
        (
            {
                "enable_auto_scale": True,
                "auto_scale_formula": FORMULA,
                "target_dedicated_nodes": 1,
            },
            "InvalidPropertyValue",
        ),
        (
            {
                "enable_auto_scale": True,
                "auto_scale_formula": FORMULA,
                "auto_scale_evaluation_interval": timedelta(minutes=4),
            },
            "InvalidPropertyValue",
        ),
        ({"task_slots_per_node": 9}, "InvalidPropertyValue"),
        ({"vm_size": "Standard_E32-1ds_v5", "task_slots_per_node": 5}, "InvalidPropertyValue"),
        ({"resize_timeout": timedelta(minutes=4)}, "InvalidPropertyValue"),
        ({"target_dedicated_nodes": -1}, "InvalidPropertyValue"),
        ({"id": "no spaces"}, "InvalidPropertyValue"),
    ],
)
def test_a_pool_that_azure_would_refuse_is_refused(
    lab: Lab, options: dict[str, Any], code: str
) -> None:
    pool_id = options.pop("id", "refused")
    with pytest.raises(HttpResponseError) as caught:
        lab.client.create_pool(lab.pool_options(pool_id, **options))
    assert caught.value.error.code == code
    assert not list(lab.client.list_pools())


@pytest.mark.parametrize(
    ("image", "agent", "code"),
    [
        ("canonical/ubuntu-24_04-lts/server", "batch.node.debian 12", "InvalidPropertyValue"),
        (
            "canonical/ubuntu-23_10/server",
            "batch.node.ubuntu 23.10",
            "InvalidPropertyValue",
        ),
        (
            "microsoftwindowsserver/windowsserver/2022-datacenter",
            "batch.node.windows amd64",
            "NotImplemented",
        ),
    ],
)
def test_an_image_must_be_a_listed_one(lab: Lab, image: str, agent: str, code: str) -> None:
    publisher, offer, sku = image.split("/")
    reference = m.BatchVmImageReference(publisher=publisher, offer=offer, sku=sku)
    machine = m.VirtualMachineConfiguration(image_reference=reference, node_agent_sku_id=agent)
    with pytest.raises(HttpResponseError) as caught:
        lab.client.create_pool(lab.pool_options("none", virtual_machine_configuration=machine))
    assert caught.value.error.code == code


def test_images_have_the_properties_that_clients_choose_by(lab: Lab) -> None:
    images = list(lab.client.list_supported_images())
    assert {image.verification_type for image in images} == {"verified", "unverified"}
    assert {image.os_type for image in images} == {"linux", "windows"}
    chosen = [
        image
        for image in lab.client.list_supported_images(
            filter="verificationType eq 'verified' and osType eq 'linux'"
        )
        if image.batch_support_end_of_life is None and image.image_reference.sku == "server"
    ]
    agents = {image.node_agent_sku_id for image in chosen}
    assert agents == {"batch.node.ubuntu 24.04", "batch.node.ubuntu 26.04"}


def test_a_patch_changes_what_it_names_and_nothing_else(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0, display_name="before")
    before = lab.client.get_pool(pool_id)
    item = m.BatchMetadataItem(name="k", value="v")
    lab.client.update_pool(pool_id, m.BatchPoolUpdateOptions(metadata=[item]))
    after = lab.client.get_pool(pool_id)
    assert (after.display_name, after.metadata[0].name) == ("before", "k")
    assert after.etag != before.etag


def test_replacing_the_properties_removes_what_is_absent(lab: Lab) -> None:
    pool_id = lab.pool(nodes=0, metadata=[m.BatchMetadataItem(name="k", value="v")])
    start = m.BatchStartTask(command_line="true")
    lab.client.replace_pool_properties(
        pool_id,
        m.BatchPoolReplaceOptions(start_task=start, application_package_references=[], metadata=[]),
    )
    pool = lab.client.get_pool(pool_id)
    assert (pool.metadata, pool.start_task.command_line) == (None, "true")


def test_slots_cannot_change_while_the_pool_has_nodes(lab: Lab) -> None:
    pool_id = lab.pool(nodes=1)
    with pytest.raises(HttpResponseError) as caught:
        lab.client.update_pool(pool_id, m.BatchPoolUpdateOptions(task_slots_per_node=2))
    assert caught.value.error.code == "OperationInvalidForCurrentState"


@pytest.mark.parametrize(
    "unsupported",
    [
        {"networkConfiguration": {"subnetId": "/s"}},
        {"applicationPackageReferences": [{"applicationId": "a"}]},
        {"certificateReferences": [{"thumbprint": "a"}]},
        {"mountConfiguration": [{}]},
        {"userAccounts": [{"name": "a", "password": "b"}]},
        {"cloudServiceConfiguration": {"osFamily": "5"}},
        {"enableInterNodeCommunication": True},
    ],
)
def test_unsupported_properties_are_refused_by_name(lab: Lab, unsupported: dict[str, Any]) -> None:
    body = lab.pool_options("p").as_dict() | unsupported
    response = lab.send("POST", "/pools", json=body)
    assert response.status_code == 501
    assert next(iter(unsupported)) in response.json()["values"][0]["value"]
