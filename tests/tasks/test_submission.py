import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import ServiceRequestError
from records import MP3, NOW, a_conversion, a_request, a_source, a_ticket

from tasks.azure.batch_task import BatchTask
from tasks.azure.clients import batch_client
from tasks.azure.sas import Signer
from tasks.models import Conversion, Excerpt, Excerpted, Extent, Ticket
from tasks.naming import batch_task_id
from tasks.submission import (
    TASKS_PER_REQUEST,
    TaskWriter,
    add_batch_tasks,
    as_settings,
    refusal,
    submit_wave,
)

IDENTITY = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity"
    "/userAssignedIdentities/nodes"
)
SIGNER = Signer("https://s", "s", NOW + timedelta(hours=1), "a2V5", None)


@pytest.fixture
def job(batch: BatchClient) -> Any:
    """Yield the ticket of a run with a job. Its pool does not exist."""
    ticket = a_ticket()
    info = models.BatchPoolInfo(pool_id=ticket.pool_id)
    batch.create_job(models.BatchJobCreateOptions(id=ticket.job_id, pool_info=info))
    yield ticket
    batch.begin_delete_job(ticket.job_id)


def writer(**values: Any) -> TaskWriter:
    return TaskWriter(signer=SIGNER, ticket=a_ticket(now=NOW), request=a_request(**values))


def written(
    conversion: Conversion, *, attempt: int = 1, by: TaskWriter | None = None
) -> models.BatchTaskCreateOptions:
    """Return the SDK's model of a batch task: it ignores names that are not Batch's."""
    return models.BatchTaskCreateOptions((by or writer()).write(conversion, attempt))


def a_result(status: str, code: str | None = None) -> models.BatchTaskCreateResult:
    error = {"error": {"code": code}} if code else {}
    return models.BatchTaskCreateResult({"status": status, "taskId": "k-1"} | error)


def a_batch_task(name: str, size_bytes: int = 0) -> BatchTask:
    fill = as_settings({"FILL": "x" * size_bytes})
    return writer().write(a_conversion(), 1) | {"id": name, "environmentSettings": fill}


def test_success_and_task_exists_are_not_refusals() -> None:
    assert refusal(a_result("success")) is None
    assert refusal(a_result("clienterror", "TaskExists")) is None
    assert refusal(a_result("clienterror", "taskexists")) is None
    assert refusal(a_result("clienterror", "InvalidPropertyValue")) == "InvalidPropertyValue"
    assert refusal(a_result("clienterror")) == "no reason given"


def test_a_sources_name_is_not_in_a_command_line() -> None:
    source = a_source("$(touch pwned) 'it' \"is\".mp4")
    batch_task = written(a_conversion(source, output="x.mp3"))
    settings = [s.value for s in batch_task.environment_settings or []]
    assert batch_task.command_line == "/bin/sh runner.sh"
    assert not [value for value in settings if "pwned" in str(value)]
    assert [f.file_path for f in batch_task.resource_files or []] == ["runner.sh", "input"]


def test_a_batch_task_of_an_excerpt_downloads_it() -> None:
    excerpted = Excerpted(Excerpt((0,), "mov"), 1, (), (), ())
    _, given = written(a_conversion(excerpted=excerpted)).resource_files or []
    assert "/inputs/c0-a0-mov?" in str(given.http_url)


def test_a_batch_task_has_what_the_runner_needs() -> None:
    particular = ("-sample_fmt", "s16")
    sound, track = Extent(0, 3.14159), Extent(0.5, 3, track=1)
    tags = ";FFMETADATA1\ntitle=长相思\n"
    conversion = a_conversion(arguments=particular, sounds=(sound, track), tags=tags)
    batch_task = written(conversion, attempt=2)
    settings = {s.name: s.value for s in batch_task.environment_settings or []}
    assert settings == {
        "OUTPUT": "output.mp3",
        "SOUND": "0.000 3.142 - 0\n0.500001 3.000 - 1",
        "PICTURE": "",
        "SOURCE_MD5": "",
        "FFMPEG_ARGUMENTS": "\n".join((*MP3.arguments, *particular)),
        "PREFERRED_ARGUMENTS": "",
        "MOST_BIT_RATE": "192000",
        "FILES_PER_VCPU": "1",
        "TAGS": tags,
    }
    assert batch_task.id == batch_task_id(a_conversion().key, 2)


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


def test_the_node_gets_the_planned_md5_of_a_blob_and_its_output_the_planned_etag() -> None:
    source = a_source(location="az://media/a.mp4", etag="0x8D", md5="d41d8cd98f")
    batch_task = written(a_conversion(source))
    settings = {s.name: s.value for s in batch_task.environment_settings or []}
    assert settings["SOURCE_MD5"] == "d41d8cd98f"
    target = (batch_task.output_files or [])[0].destination.container
    assert target
    headers = {h.name: h.value for h in target.upload_headers or []}
    assert headers["x-ms-meta-convertsourceetag"] == "0x8D"


def test_all_logs_are_uploaded_if_uploads_are_kept() -> None:
    keeper = writer(cleanup={"inputs": "keep"})
    log = (written(a_conversion(), by=keeper).output_files or [])[1]
    assert log.upload_options.upload_condition == "taskcompletion"


def test_a_blob_is_read_from_its_container_and_a_file_from_its_upload() -> None:
    blob = a_source("a.mp4", location="az://media/talks/day 1.mp4")
    _, there = written(a_conversion(blob)).resource_files or []
    assert str(there.http_url).startswith("https://s/media/talks/day%201.mp4?")
    ours = writer()
    _, uploaded = written(a_conversion(content="c0"), by=ours).resource_files or []
    prefix = f"https://s/input/{ours.ticket.lock_id}/inputs/c0?"
    assert str(uploaded.http_url).startswith(prefix)


def test_a_batch_task_with_long_names_is_smaller_than_10_kilobytes() -> None:
    deep = "/".join(["é" * 60] * 4)
    conversion = a_conversion(a_source(f"{deep}/a.mp4"))
    assert len(json.dumps(writer().write(conversion, 1))) < 10_000


def test_a_batch_tasks_folder_is_kept_for_five_minutes() -> None:
    constraints = written(a_conversion()).constraints
    assert constraints
    assert constraints.retention_time == timedelta(minutes=5)


def test_a_batch_task_asks_for_no_retries_because_the_run_retries() -> None:
    constraints = written(a_conversion()).constraints
    assert constraints
    assert constraints.max_task_retry_count == 0


def test_one_token_writes_only_the_output_and_another_writes_to_the_container_of_logs() -> None:
    output, *logs = written(a_conversion()).output_files or []
    assert output.destination.container
    address, _, token = str(output.destination.container.container_url).partition("?")
    assert address == "https://s/output"
    assert (parse_qs(token)["sr"], parse_qs(token)["sp"]) == (["b"], ["w"])
    for log in logs:
        assert log.destination.container
        address, _, token = str(log.destination.container.container_url).partition("?")
        assert address == "https://s/input-logs"
        assert (parse_qs(token)["sr"], parse_qs(token)["sp"]) == (["c"], ["w"])


def test_nodes_read_by_the_pools_identity_and_write_by_tokens() -> None:
    ours = writer(pool={"id": "shared", "identity": IDENTITY})
    batch_task = written(a_conversion(), by=ours)
    read = batch_task.resource_files or []
    references = [file.identity_reference for file in read]
    assert [found and found.resource_id for found in references] == [IDENTITY, IDENTITY]
    assert not [file for file in read if "sig=" in str(file.http_url)]
    for file in batch_task.output_files or []:
        assert file.destination.container
        assert file.destination.container.identity_reference is None
        assert "sig=" in file.destination.container.container_url


def test_a_node_cannot_guess_the_folder_of_anothers_logs() -> None:
    def folder(by: TaskWriter) -> str:
        _, log, _ = written(a_conversion(), by=by).output_files or []
        assert log.destination.container
        return str(log.destination.container.path)

    ours = writer()
    ticket = replace(ours.ticket, log_secret="another")
    first, second = folder(ours), folder(replace(ours, ticket=ticket))
    assert first == folder(replace(ours))
    assert first != second
    assert first.rpartition("-")[0] == second.rpartition("-")[0]


async def test_submitting_a_wave_twice_adds_it_once(
    batch: BatchClient, containers: tuple[str, str], job: Ticket
) -> None:
    conversions = [a_conversion(a_source(f"{n}.mp4")) for n in range(3)]
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    for _ in range(2):
        assert await submit_wave.fn(conversions, **given) == ()
    names = {batch_task.id for batch_task in batch.list_tasks(job.job_id)}
    assert names == {batch_task_id(c.key, 1) for c in conversions}


async def test_a_wave_larger_than_one_request_is_added_completely(
    batch: BatchClient, containers: tuple[str, str], job: Ticket
) -> None:
    conversions = [a_conversion(a_source(f"{n}.mp4")) for n in range(TASKS_PER_REQUEST + 1)]
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    assert await submit_wave.fn(conversions, **given) == ()
    assert len(list(batch.list_tasks(job.job_id))) == len(conversions)


async def test_an_empty_wave_sends_no_requests(
    account: dict[str, str], containers: tuple[str, str], order: Any, job: Ticket
) -> None:
    assert account
    order("answer", status=500, operation="POST /jobs/*/addtaskcollection")
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    assert await submit_wave.fn([], **given) == ()


async def test_a_refused_batch_task_does_not_stop_its_wave(
    batch: BatchClient, containers: tuple[str, str], job: Ticket
) -> None:
    good, bad = a_conversion(), replace(a_conversion(a_source("b.mp4")), key="not a key")
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    (refused,) = await submit_wave.fn([bad, good], **given)
    assert (refused.source, refused.output) == (bad.source, "b.mp3")
    assert refused.reason.startswith("Batch refused it: InvalidPropertyValue: A property in")
    assert "(PropertyName: id, PropertyValue: not a key-1, Reason: String should" in refused.reason
    assert [t.id for t in batch.list_tasks(job.job_id)] == [batch_task_id(good.key, 1)]


@pytest.mark.filterwarnings("ignore:Sending a large body")  # a megabyte blocks only briefly
async def test_a_request_of_more_than_a_megabyte_is_sent_in_halves(
    batch: BatchClient, job: Ticket
) -> None:
    many = [a_batch_task(f"k{n}-1", 30_000) for n in range(100)]
    async with batch_client() as client:
        assert await add_batch_tasks(client, job.job_id, many) == {}
    assert len(list(batch.list_tasks(job.job_id))) == 100


async def test_a_wave_is_recognized_after_the_response_to_its_submission_was_lost(
    batch: BatchClient, containers: tuple[str, str], job: Ticket, order: Any
) -> None:
    order("drop", when="after", operation="POST /jobs/*/addtaskcollection", times=1)
    given: Any = {"wave": 1, "attempt": 1, "ticket": job, "request": a_request(containers)}
    with pytest.raises(ServiceRequestError):  # which the stage retries
        await submit_wave.fn([a_conversion()], **given)
    assert await submit_wave.fn([a_conversion()], **given) == ()
    assert len(list(batch.list_tasks(job.job_id))) == 1
