from datetime import timedelta
from typing import Any

import pytest
from azure.batch import models
from records import NOW

from tasks.azure.batch_results import results_per_page, to_result
from tasks.models import BatchResult


def test_the_page_size_grows_with_the_number_of_results() -> None:
    started = (0, 10_000, 10_040, 40_000, 1_000_000)
    assert [results_per_page(n) for n in started] == [250, 250, 251, 1000, 1000]


def a_batch_task(state: str, info: dict[str, Any] | None = None) -> models.BatchTask:
    wire = {"id": "k-2", "state": state, "executionInfo": {"retryCount": 1} | (info or {})}
    return models.BatchTask(wire | {"nodeInfo": {"nodeId": "n"}})


@pytest.mark.parametrize("state", ["preparing", "running"])
def test_a_batch_task_that_is_not_completed_is_running(state: str) -> None:
    seen = to_result(a_batch_task(state, {"startTime": "2026-11-22T12:00:00Z"}))
    assert seen == BatchResult("k", 2, "running", node="n", started_at=NOW)


def test_a_batch_task_without_details_is_running() -> None:
    wire = {"id": "k-1", "state": "preparing", "creationTime": "2026-11-22T12:00:00.1234567Z"}
    added_at = NOW + timedelta(microseconds=123456)
    assert to_result(models.BatchTask(wire)) == BatchResult("k", 1, "running", added_at=added_at)


def test_an_exit_code_of_zero_with_a_failed_upload_is_a_failure() -> None:
    failure = {
        "category": "usererror",
        "code": "FileUploadMiscError",
        "message": "no",
        "details": [{"name": "FilePath", "value": "a.mp3"}],
    }
    info = {"exitCode": 0, "result": "failure", "failureInfo": failure}
    batch_result = to_result(a_batch_task("completed", info))
    assert (batch_result.state, batch_result.exit_code) == ("failed", 0)
    assert (batch_result.code, batch_result.message) == ("FileUploadMiscError", "no")
    assert (batch_result.category, batch_result.details) == ("usererror", "FilePath: a.mp3")


def test_a_success_has_its_node_its_tries_and_its_seconds() -> None:
    times = {"startTime": "2026-11-22T12:00:00Z", "endTime": "2026-11-22T12:00:01.5Z"}
    info = {"exitCode": 0, "result": "success"} | times
    assert to_result(a_batch_task("completed", info)) == BatchResult(
        *("k", 2, "succeeded"),
        exit_code=0,
        node="n",
        tries=2,
        seconds=1.5,
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=1.5),
    )
