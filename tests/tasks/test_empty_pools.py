"""How runs end or wait that get no nodes, on a separate Batch service whose clock runs faster."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import own_service
import pytest
from azure.batch import BatchClient, models
from reactions import reacting_to
from records import a_pool, a_ticket

from local_azure.pytest_plugin import MACHINE
from tasks.azure.nodes import Roster
from tasks.completion import Completion, watch_completion
from tasks.models import Ticket
from tasks.pool import make_pool
from tasks.results.progress import Tally

FAST = 600  # ten minutes per second
HOUR = timedelta(hours=1)
QUOTA = "AccountSpotCoreQuotaReached"
Order = Callable[..., None]

account, batch = own_service.account, own_service.batch


def a_run(batch: BatchClient, *, tasks: int = 1) -> Ticket:
    """Return the ticket of a run with a job. Its pool does not exist yet."""
    ticket = a_ticket()
    ticket = replace(ticket, deadline=ticket.started_at + 100 * HOUR)
    info = models.BatchPoolInfo(pool_id=ticket.pool_id)
    batch.create_job(models.BatchJobCreateOptions(id=ticket.job_id, pool_info=info))
    for number in range(tasks):
        options = models.BatchTaskCreateOptions(id=f"k{number}-1", command_line="true")
        batch.create_task(ticket.job_id, options)
    return ticket


def create_pool(batch: BatchClient, ticket: Ticket, **values: Any) -> None:
    pool = models.BatchPoolCreateOptions(
        id=ticket.pool_id,
        vm_size="Standard_D2ds_v5",
        virtual_machine_configuration=MACHINE,
        **values,
    )
    batch.create_pool(pool)


async def watch(ticket: Ticket) -> Completion:
    tally = Tally(files=1, submitted=1, is_closed=True)
    completion: Completion = await watch_completion.fn(ticket, tally, Roster())
    return completion


async def test_a_quota_error_ends_a_run_after_three_evaluations_of_the_formula(
    batch: BatchClient, order: Order
) -> None:
    ticket = a_run(batch)
    order("resize", code=QUOTA)
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    order("clock", rate=FAST)
    completion = await watch(ticket)
    assert completion.diagnosis
    assert completion.diagnosis.code == QUOTA
    assert "Spot cores" in completion.diagnosis.remedy
    run = batch.get_pool(ticket.pool_id).auto_scale_run
    assert run
    assert run.timestamp - ticket.started_at >= timedelta(minutes=10)


async def test_a_quota_error_that_passes_does_not_end_a_run(
    batch: BatchClient, order: Order, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = a_run(batch)
    order("resize", code=QUOTA, times=2)
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    order("clock", rate=FAST)
    completion = await watch(ticket)
    assert completion.diagnosis is None
    assert [result.state for result in completion.batch_results] == ["succeeded"]
    assert "(Reason: The resize was told to fail)" in caplog.text


async def test_a_resize_error_that_is_older_than_the_run_does_not_end_it(
    batch: BatchClient, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.results.diagnosis.EMPTY_POOL_SECONDS", 0)
    ticket = a_run(batch)
    order("resize", code="UnsupportedVMSize", times=1)
    create_pool(batch, ticket, target_low_priority_nodes=1)
    found = batch.get_pool(ticket.pool_id)
    while not found.resize_errors:
        found = batch.get_pool(ticket.pool_id)
    assert found.allocation_state_transition_time
    later = found.allocation_state_transition_time + timedelta(seconds=1)
    shared = replace(ticket, owns_pool=False, started_at=later)
    with reacting_to("Batch reports no error", lambda: grow(batch, ticket.pool_id)):
        completion = await watch(shared)
    assert completion.diagnosis is None
    assert [result.state for result in completion.batch_results] == ["succeeded"]


def grow(batch: BatchClient, pool_id: str) -> None:
    more = models.BatchPoolResizeOptions(target_low_priority_nodes=1)
    batch.begin_resize_pool(pool_id, more)


async def test_the_reason_why_a_formula_cannot_be_evaluated_is_logged(
    batch: BatchClient, order: Order, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = a_run(batch, tasks=0)
    create_pool(
        batch,
        ticket,
        enable_auto_scale=True,
        auto_scale_formula="quotient = 1 / ($ActiveTasks - 1); $TargetDedicatedNodes = 0;",
        auto_scale_evaluation_interval=timedelta(minutes=5),
    )
    task = models.BatchTaskCreateOptions(id="k0-1", command_line="true")
    batch.create_task(ticket.job_id, task)
    order("clock", rate=FAST)
    options: Any = {"terminateReason": "seen"}
    with reacting_to(
        "Batch cannot evaluate", lambda: batch.begin_terminate_job(ticket.job_id, options=options)
    ):
        await watch(ticket)
    assert "AutoScalingFormulaEvaluationError: The autoscale formula cannot be" in caplog.text
    assert "Reason: " in caplog.text


async def test_a_start_task_that_cannot_download_its_file_is_explained(batch: BatchClient) -> None:
    ticket = a_run(batch)
    file = models.ResourceFile(http_url="http://127.0.0.1:9/ffmpeg?sig=secret", file_path="ffmpeg")
    start = models.BatchStartTask(command_line="true", resource_files=[file])
    create_pool(batch, ticket, target_low_priority_nodes=1, start_task=start)
    completion = await watch(ticket)
    assert completion.diagnosis
    assert "BlobDownloadMiscError" in completion.diagnosis.detail
    assert "BlobSource: http://127.0.0.1:9/ffmpeg, " in completion.diagnosis.detail


async def test_the_nodes_log_of_a_failed_upload_is_read_before_the_pool_is_deleted(
    batch: BatchClient, order: Order
) -> None:
    ticket = a_run(batch, tasks=0)
    order("upload", code="FileUploadMiscError")
    to = models.OutputFileBlobContainerDestination(container_url="https://s/outputs?sig=secret")
    output = models.OutputFile(
        file_pattern="a.mp3",
        destination=models.OutputFileDestination(container=to),
        upload_options=models.OutputFileUploadConfiguration(upload_condition="tasksuccess"),
    )
    options = models.BatchTaskCreateOptions(id="k0-1", command_line="true", output_files=[output])
    batch.create_task(ticket.job_id, options)
    create_pool(batch, ticket, target_low_priority_nodes=1)
    (batch_result,) = (await watch(ticket)).batch_results
    assert batch_result.details.startswith("Reason: The local service was told to fail, ")
    assert 'fileuploaderr.txt: {"code": "FileUploadMiscError"' in batch_result.details
    assert '"destination": "https://s/outputs"}' in batch_result.details
