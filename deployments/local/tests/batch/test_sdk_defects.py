"""Defects of the real client, which occur here as they do with Azure."""

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


def test_a_failed_poll_ends_the_poller_without_raising(lab: Lab, faults: FaultOrders) -> None:
    job_id = lab.job("nowhere")
    faults.order("answer", status=500, operation=f"GET /jobs/{job_id}")
    poller = lab.client.begin_terminate_job(
        job_id, options={"terminateReason": "x"}, polling_interval=0
    )
    assert (poller.wait(), poller.result(), poller.status()) == (None, None, "Failed")


def test_create_tasks_retries_forever_on_service_errors(lab: Lab, faults: FaultOrders) -> None:
    job_id = lab.job("nowhere")
    faults.order("answer", status=500, operation="POST */addtaskcollection", times=100)
    options = m.BatchTaskCreateOptions(id="t", command_line="true")
    (result,) = lab.client.create_tasks(job_id, [options]).result_values
    assert (result.status, lab.send("GET", "/_local/faults").json()["value"]) == ("success", [])


def test_create_tasks_submits_a_hundred_at_a_time_in_reverse_order(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    tasks = [m.BatchTaskCreateOptions(id=f"t{n:03}", command_line="true") for n in range(150)]
    results = lab.client.create_tasks(job_id, tasks).result_values
    assert [result.task_id for result in results[:2]] == ["t149", "t148"]
    listed = [task.id for task in lab.client.list_tasks(job_id)]
    assert listed == sorted(listed, reverse=True)


def test_create_tasks_does_not_raise_for_an_existing_task(lab: Lab) -> None:
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


def test_create_tasks_halves_a_request_that_is_too_large(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    tasks = [m.BatchTaskCreateOptions(id=f"t{n}", command_line="x" * 20_000) for n in range(100)]
    assert len(lab.client.create_tasks(job_id, tasks).result_values) == 100


def test_the_error_of_a_download_has_no_text_until_it_is_read(lab: Lab, pool: str) -> None:
    task = lab.run(pool)
    job_id = task.url.split("/")[-3]
    with pytest.raises(ResourceNotFoundError) as caught:
        lab.client.download_task_file(job_id, task.id, "none")
    assert caught.value.error is None
    caught.value.response.read()
    assert caught.value.response.json()["code"] == "FileNotFound"


def test_an_empty_duration_is_refused(lab: Lab) -> None:
    job_id = lab.job("nowhere")
    options = m.BatchTaskConstraints(retention_time=timedelta(0))
    with pytest.raises(HttpResponseError) as caught:
        lab.task(job_id, constraints=options)
    assert caught.value.error.code == "InvalidPropertyValue"


async def test_the_async_client_rewrites_quotes_in_paths_after_signing(async_batch: Any) -> None:
    with pytest.raises(HttpResponseError) as caught:
        await async_batch.get_pool("it's")
    assert caught.value.status_code == 403


def test_the_client_reports_every_failed_condition_as_a_modification(lab: Lab) -> None:
    with pytest.raises(ResourceModifiedError) as caught:
        lab.client.update_pool(
            "none",
            m.BatchPoolUpdateOptions(display_name="x"),
            etag="0x1",
            match_condition=MatchConditions.IfNotModified,
        )
    assert (caught.value.status_code, caught.value.error.code) == (404, "PoolNotFound")
