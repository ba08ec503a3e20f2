import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import ServiceRequestError
from records import MP3, NOW, a_conversion, a_request, a_source, a_ticket

from tasks.azure.batch_task import BatchTask
from tasks.azure.clients import batch_client
from tasks.azure.sas import IdentityAccess, Signer
from tasks.models import Conversion, Ticket
from tasks.naming import batch_task_id
from tasks.submission import (
    TASKS_PER_REQUEST,
    TaskWriter,
    add_batch_tasks,
    as_settings,
    refusal,
    submit_wave,
)

SIGNER = Signer("https://s", "s", NOW + timedelta(hours=1), "a2V5", None)


@pytest.fixture
def job(batch: BatchClient) -> Any:
    """The ticket of a run whose job is there, on a pool that is not."""
    ticket = a_ticket()
    info = models.BatchPoolInfo(pool_id=ticket.pool_id)
    batch.create_job(models.BatchJobCreateOptions(id=ticket.job_id, pool_info=info))
    yield ticket
    batch.begin_delete_job(ticket.job_id)


def writer(**values: Any) -> TaskWriter:
    return TaskWriter(access=SIGNER, ticket=a_ticket(now=NOW), request=a_request(**values))


def written(
    conversion: Conversion, *, attempt: int = 1, by: TaskWriter | None = None
) -> models.BatchTaskCreateOptions:
    """What the SDK reads in it: a name that is not Batch's would be missed."""
    return models.BatchTaskCreateOptions((by or writer()).write(conversion, attempt))


def a_result(status: str, code: str | None = None) -> models.BatchTaskCreateResult:
    error = {"error": {"code": code}} if code else {}
    return models.BatchTaskCreateResult({"status": status, "taskId": "k-1"} | error)


def a_batch_task(name: str, size_bytes: int = 0) -> BatchTask:
    fill = as_settings({"FILL": "x" * size_bytes})
    return writer().write(a_conversion(), 1) | {"id": name, "environmentSettings": fill}


def test_success_and_what_is_there_already_are_no_refusals() -> None:
    assert refusal(a_result("success")) is None
    assert refusal(a_result("clienterror", "TaskExists")) is None
    assert refusal(a_result("clienterror", "InvalidPropertyValue")) == "InvalidPropertyValue"
    assert refusal(a_result("clienterror")) == "no reason given"


def test_a_sources_name_is_in_no_command_line() -> None:
    source = a_source("$(touch pwned) 'it' \"is\".mp4")
    batch_task = written(a_conversion(source, output="x.mp3"))
    settings = [s.value for s in batch_task.environment_settings or []]
    assert batch_task.command_line == "/bin/sh runner.sh"
    assert not [value for value in settings if "pwned" in str(value)]
    assert [f.file_path for f in batch_task.resource_files or []] == ["runner.sh", "input"]


def test_a_batch_task_has_what_the_runner_needs() -> None:
    particular = ("-sample_fmt", "s16")
    batch_task = written(a_conversion(seconds=3.14159, arguments=particular), attempt=2)
    settings = {s.name: s.value for s in batch_task.environment_settings or []}
    assert settings == {
        "OUTPUT": "output.mp3",
        "SOURCE_SECONDS": "3.142",
        "FFMPEG_ARGUMENTS": "\n".join((*MP3.arguments, *particular)),
    }
    assert batch_task.id == batch_task_id(a_conversion().key, 2)
    unknown = written(a_conversion()).environment_settings or []
    assert {s.name: s.value for s in unknown}["SOURCE_SECONDS"] == ""


def test_an_output_is_uploaded_on_success_under_its_name_with_its_stamp() -> None:
    conversion = a_conversion(a_source("é.mp4"))
    output, *logs = written(conversion).output_files or []
    target = output.destination.container
    assert target
    assert (target.path, output.file_pattern) == ("é.mp3", "output.mp3")
    assert output.upload_options.upload_condition == "tasksuccess"
    headers = {h.name: h.value for h in target.upload_headers or []}
    assert headers == {
        "x-ms-blob-content-type": "audio/mpeg",
        "x-ms-meta-convertkey": conversion.key,
        "x-ms-meta-convertsource": "/library/%C3%A9.mp4",
        "x-ms-meta-convertpreset": "mp3",
    }
    assert [(log.file_pattern, log.upload_options.upload_condition) for log in logs] == [
        ("../std*.txt", "taskfailure"),
        ("seconds-*", "tasksuccess"),
    ]


def test_where_uploads_are_kept_the_logs_of_all_are() -> None:
    keeper = writer(cleanup={"inputs": "keep"})
    log = (written(a_conversion(), by=keeper).output_files or [])[1]
    assert log.upload_options.upload_condition == "taskcompletion"


def test_a_blob_is_read_where_it_lies_and_a_file_where_it_was_uploaded() -> None:
    blob = a_source("a.mp4", location="az://media/talks/day 1.mp4")
    _, there = written(a_conversion(blob)).resource_files or []
    assert str(there.http_url).startswith("https://s/media/talks/day%201.mp4?")
    ours = writer()
    _, uploaded = written(a_conversion(content="c0"), by=ours).resource_files or []
    prefix = f"https://s/input/{ours.ticket.lock_id}/inputs/c0?"
    assert str(uploaded.http_url).startswith(prefix)


def test_a_hundred_batch_tasks_with_long_names_are_less_than_a_megabyte() -> None:
    deep = "/".join(["é" * 60] * 4)
    conversion = a_conversion(a_source(f"{deep}/a.mp4"))
    assert len(json.dumps(writer().write(conversion, 1))) < 10_000


def test_its_folder_is_gone_from_the_node_soon() -> None:
    constraints = written(a_conversion()).constraints
    assert constraints
    assert constraints.retention_time == timedelta(minutes=5)


def test_nodes_reach_each_blob_by_the_identity_where_one_is_named() -> None:
    access = IdentityAccess("https://s", "/subscriptions/i")
    batch_task = written(a_conversion(), by=replace(writer(), access=access))
    containers = [file.destination.container for file in batch_task.output_files or []]
    there = [*(batch_task.resource_files or []), *containers]
    references = [blob.identity_reference for blob in there if blob]
    assert [found and found.resource_id for found in references] == ["/subscriptions/i"] * 5


async def test_a_wave_is_added_and_adding_it_again_changes_nothing(
    batch: BatchClient, containers: tuple[str, str], job: Ticket
) -> None:
    conversions = [a_conversion(a_source(f"{n}.mp4")) for n in range(3)]
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    for _ in range(2):
        assert await submit_wave.fn(conversions, **given) == ()
    names = {batch_task.id for batch_task in batch.list_tasks(job.job_id)}
    assert names == {batch_task_id(c.key, 1) for c in conversions}


async def test_a_wave_of_more_than_batch_takes_at_once_is_added_whole(
    batch: BatchClient, containers: tuple[str, str], job: Ticket
) -> None:
    conversions = [a_conversion(a_source(f"{n}.mp4")) for n in range(TASKS_PER_REQUEST + 1)]
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    assert await submit_wave.fn(conversions, **given) == ()
    assert len(list(batch.list_tasks(job.job_id))) == len(conversions)


async def test_a_wave_of_nothing_asks_nothing_of_batch(
    account: dict[str, str], containers: tuple[str, str], order: Any, job: Ticket
) -> None:
    assert account
    order("answer", status=500, operation="POST /jobs/*/addtaskcollection")
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    assert await submit_wave.fn([], **given) == ()


async def test_one_that_batch_does_not_take_is_told_and_does_not_lose_its_wave(
    batch: BatchClient, containers: tuple[str, str], job: Ticket
) -> None:
    good, bad = a_conversion(), replace(a_conversion(a_source("b.mp4")), key="not a key")
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    (refused,) = await submit_wave.fn([bad, good], **given)
    assert (refused.source, refused.output) == (bad.source, "b.mp3")
    assert refused.reason == "Batch did not take it: InvalidPropertyValue"
    assert [t.id for t in batch.list_tasks(job.job_id)] == [batch_task_id(good.key, 1)]


@pytest.mark.filterwarnings("ignore:Sending a large body")  # a megabyte does not block for long
async def test_more_than_a_megabyte_goes_out_in_halves(batch: BatchClient, job: Ticket) -> None:
    many = [a_batch_task(f"k{n}-1", 30_000) for n in range(100)]
    async with batch_client() as client:
        assert await add_batch_tasks(client, job.job_id, many) == {}
    assert len(list(batch.list_tasks(job.job_id))) == 100


async def test_a_wave_whose_answer_was_lost_is_taken_for_added(
    batch: BatchClient, containers: tuple[str, str], job: Ticket, order: Any
) -> None:
    order("drop", when="after", operation="POST /jobs/*/addtaskcollection", times=1)
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    with pytest.raises(ServiceRequestError):  # which Prefect's task tries again
        await submit_wave.fn([a_conversion()], **given)
    assert await submit_wave.fn([a_conversion()], **given) == ()
    assert len(list(batch.list_tasks(job.job_id))) == 1
