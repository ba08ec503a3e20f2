"""What the real client does wrong must show here as it shows against Azure."""

from datetime import timedelta
from typing import Any

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from lab import FaultOrders, Lab


def test_pool_exists_raises_for_a_pool_that_does_not(lab: Lab) -> None:
    with pytest.raises(ResourceNotFoundError):
        lab.client.pool_exists("none")


def test_terminating_a_job_without_options_is_a_value_error(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    with pytest.raises(ValueError, match="No value"):
        lab.client.begin_terminate_job(job_id)


def test_a_poll_that_errs_ends_as_failed_without_raising(lab: Lab, faults: FaultOrders) -> None:
    job_id = lab.job("nowhere")
    faults.order("answer", status=500, operation=f"GET /jobs/{job_id}")
    poller = lab.client.begin_terminate_job(
        job_id, options={"terminateReason": "x"}, polling_interval=0
    )
    assert (poller.wait(), poller.result(), poller.status()) == (None, None, "Failed")


def test_create_tasks_tries_without_end_while_the_service_errs(
    lab: Lab, faults: FaultOrders
) -> None:
    job_id = lab.job("nowhere")
    faults.order("answer", status=500, operation="POST */addtaskcollection", times=100)
    options = m.BatchTaskCreateOptions(id="t", command_line="true")
    (result,) = lab.client.create_tasks(job_id, [options]).result_values
    assert (result.status, lab.send("GET", "/_local/faults").json()["value"]) == ("success", [])


def test_create_tasks_submits_in_reverse_order_by_hundreds(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    tasks = [m.BatchTaskCreateOptions(id=f"t{n:03}", command_line="true") for n in range(150)]
    results = lab.client.create_tasks(job_id, tasks).result_values
    assert [result.task_id for result in results[:2]] == ["t149", "t148"]
    listed = [task.id for task in lab.client.list_tasks(job_id)]
    assert listed == sorted(listed, reverse=True)


def test_create_tasks_takes_a_task_that_exists_for_success(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    lab.task(job_id, id="there")
    options = m.BatchTaskCreateOptions(id="there", command_line="true")
    (result,) = lab.client.create_tasks(job_id, [options]).result_values
    assert (result.status, result.error.code) == ("clienterror", "TaskExists")


def test_create_tasks_raises_for_any_other_task_that_is_refused(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    options = m.BatchTaskCreateOptions(id="bad id", command_line="true")
    with pytest.raises(m.CreateTasksError) as caught:
        lab.client.create_tasks(job_id, [options])
    assert [failed.error.code for failed in caught.value.failure_tasks] == ["InvalidPropertyValue"]


def test_create_tasks_halves_what_is_too_large(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    tasks = [m.BatchTaskCreateOptions(id=f"t{n}", command_line="x" * 20_000) for n in range(100)]
    assert len(lab.client.create_tasks(job_id, tasks).result_values) == 100


def test_the_error_of_a_download_is_empty_until_it_is_read(lab: Lab, pool: str) -> None:
    task = lab.run(pool)
    job_id = task.url.split("/")[-3]
    with pytest.raises(ResourceNotFoundError) as caught:
        lab.client.download_task_file(job_id, task.id, "none")
    assert caught.value.error is None
    caught.value.response.read()
    assert caught.value.response.json()["code"] == "FileNotFound"


def test_a_duration_of_nothing_is_invalid_on_the_wire(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    options = m.BatchTaskConstraints(retention_time=timedelta(0))
    with pytest.raises(HttpResponseError) as caught:
        lab.task(job_id, constraints=options)
    assert caught.value.error.code == "InvalidPropertyValue"


async def test_the_async_client_rewrites_quotes_in_paths_after_signing(async_batch: Any) -> None:
    with pytest.raises(HttpResponseError) as caught:
        await async_batch.get_pool("it's")
    assert caught.value.status_code == 403


def test_every_failure_of_a_conditional_request_looks_like_a_modification(lab: Lab) -> None:
    with pytest.raises(ResourceModifiedError) as caught:
        lab.client.update_pool(
            "none",
            m.BatchPoolUpdateOptions(display_name="x"),
            etag="0x1",
            match_condition=MatchConditions.IfNotModified,
        )
    assert (caught.value.status_code, caught.value.error.code) == (404, "PoolNotFound")
