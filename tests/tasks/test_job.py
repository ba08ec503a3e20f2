from datetime import timedelta
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient
from records import NOW, a_request, a_ticket

from tasks.errors import PoolError
from tasks.job import RUNNER, job_spec, make_job
from tasks.naming import runner_blob
from tasks.parameters import Pool


def test_a_job_ends_by_itself_at_the_deadline() -> None:
    ticket = a_ticket(now=NOW, deadline=NOW + timedelta(minutes=30))
    spec = job_spec(ticket, a_request(), now=NOW + timedelta(minutes=10))
    assert spec.constraints
    assert spec.constraints.max_wall_clock_time == timedelta(minutes=20)


def test_a_job_that_is_created_late_has_a_minute() -> None:
    spec = job_spec(a_ticket(now=NOW), a_request(), now=NOW + timedelta(hours=1))
    assert spec.constraints
    assert spec.constraints.max_wall_clock_time == timedelta(minutes=1)


def test_a_job_has_the_runs_priority_and_stays_open() -> None:
    spec = job_spec(a_ticket(now=NOW), a_request(pool=Pool(priority=7)), now=NOW)
    assert spec.priority == 7
    assert spec.all_tasks_complete_mode == models.BatchAllTasksCompleteMode.NO_ACTION


async def test_a_job_is_created_once_with_the_script_that_its_batch_tasks_run(
    batch: BatchClient, blobs: BlobServiceClient, containers: tuple[str, str], order: Any
) -> None:
    ticket, request = a_ticket(), a_request(containers)
    container = blobs.create_container(containers[1])
    order("drop", when="after", operation="POST /jobs", times=1)
    with pytest.raises(ServiceRequestError):  # which the stage retries
        await make_job.fn(ticket, request)
    await make_job.fn(ticket, request)
    assert batch.get_job(ticket.job_id).state == models.BatchJobState.ACTIVE
    assert container.download_blob(runner_blob(ticket.lock_id, RUNNER)).readall() == RUNNER
    with pytest.raises(
        PoolError, match=r"The job .* exists already, and this run did not create it"
    ):
        await make_job.fn(a_ticket(job_id=ticket.job_id), request)
    batch.begin_delete_job(ticket.job_id)
