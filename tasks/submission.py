"""The submission of a wave: a batch task for each conversion, up to 100 per request."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import HttpResponseError

from tasks.azure.batch_task import (
    BatchTask,
    Destination,
    OutputFile,
    ResourceFile,
    Setting,
    UploadCondition,
)
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.explanations import explanation, is_code
from tasks.azure.sas import CLOCK_SKEW, ReadAccess, Signer, make_signer, read_access
from tasks.azure.stamps import stamp_metadata
from tasks.job import RUNNER
from tasks.media.addresses import is_blob, split_address
from tasks.media.copying import most_bit_rate
from tasks.media.presets import Preset
from tasks.models import Conversion, Refusal, Ticket
from tasks.naming import (
    OWN,
    batch_task_id,
    input_blob,
    input_name,
    key_and_attempt,
    log_container,
    log_folder,
    log_name,
    runner_blob,
)
from tasks.parameters import Request
from tasks.results.text import counted
from tasks.slots import crowding
from tasks.stage import stage

TASKS_PER_REQUEST = 100  # batch tasks, the limit of Batch
PAUSES_SECONDS = (0, 1, 2, 4, 8)  # before each attempt: Batch may be too busy for some
RETENTION = "PT5M"  # of a task's folder: an hour of short clips would fill a disk
logger = logging.getLogger(__name__)


@stage("submit", "submit wave {wave}")
async def submit_wave(
    conversions: Sequence[Conversion],
    *,
    wave: int,
    attempt: int,
    ticket: Ticket,
    request: Request,
) -> tuple[Refusal, ...]:
    """Add a batch task for each conversion.

    Returns:
        A refusal for each that Batch refused.
    """
    async with blob_service() as service:
        signer = await make_signer(service, until=ticket.deadline + CLOCK_SKEW)
    writer = TaskWriter(signer=signer, ticket=ticket, request=request)
    refused: dict[str, str] = {}
    async with batch_client() as batch:
        for start in range(0, len(conversions), TASKS_PER_REQUEST):
            some = conversions[start : start + TASKS_PER_REQUEST]
            refused |= await add_batch_tasks(
                batch, ticket.job_id, [writer.write(c, attempt) for c in some]
            )
    added = counted(len(conversions) - len(refused), "batch task")
    logger.info("Wave %d: %s added", wave, added)
    return tuple(
        Refusal(c.source, f"Batch refused it: {refused[c.key]}", c.output, c.preset)
        for c in conversions
        if c.key in refused
    )


async def add_batch_tasks(
    batch: BatchClient, job_id: str, batch_tasks: Sequence[BatchTask]
) -> dict[str, str]:
    """Add batch tasks, and retry those that a busy Batch rejects. Return refusals by key."""
    waiting = {batch_task["id"]: batch_task for batch_task in batch_tasks}
    refused: dict[str, str] = {}
    for pause_seconds in PAUSES_SECONDS:
        if not waiting:
            break
        await asyncio.sleep(pause_seconds)
        results = await add_collection(batch, job_id, list(waiting.values()))
        for result in (r for r in results if r.status != models.BatchTaskAddStatus.SERVER_ERROR):
            del waiting[result.task_id]
            if reason := refusal(result):
                refused[key_and_attempt(result.task_id)[0]] = reason
    return refused | {key_and_attempt(name)[0]: "too busy" for name in waiting}


async def add_collection(
    batch: BatchClient, job_id: str, batch_tasks: Sequence[BatchTask]
) -> list[models.BatchTaskCreateResult]:
    """Send one request, or two halves if it is larger than the megabyte that Batch accepts."""
    group = models.BatchTaskGroup(task_values=[])
    group["value"] = batch_tasks  # without models, which are slow
    try:
        answer = await batch.create_task_collection(job_id, group)
    except HttpResponseError as error:
        if error.status_code != HTTPStatus.REQUEST_ENTITY_TOO_LARGE or len(batch_tasks) == 1:
            raise
        half = len(batch_tasks) // 2
        first = await add_collection(batch, job_id, batch_tasks[:half])
        return first + await add_collection(batch, job_id, batch_tasks[half:])
    return list(answer.result_values or [])


def refusal(result: models.BatchTaskCreateResult) -> str | None:
    """Return Batch's reason, if any. After `TaskExists`, an earlier request has succeeded."""
    error = result.error or models.BatchError()
    if result.status == models.BatchTaskAddStatus.SUCCESS or is_code(error.code, "TaskExists"):
        return None
    return explanation(error)


@dataclass(frozen=True, kw_only=True)
class TaskWriter:
    """Writes batch tasks. Names of sources never appear in their command lines."""

    signer: Signer
    ticket: Ticket
    request: Request

    def write(self, conversion: Conversion, attempt: int) -> BatchTask:
        name = batch_task_id(conversion.key, attempt)
        return {
            "id": name,
            "commandLine": "/bin/sh runner.sh",
            "environmentSettings": self._environment(conversion),
            "resourceFiles": [self._runner, self._input(conversion)],
            "outputFiles": [self._output(conversion), *self._logs(name)],
            "constraints": {"retentionTime": RETENTION, "maxTaskRetryCount": 0},  # see next_attempt
        }

    @cached_property
    def _presets(self) -> dict[str, Preset]:
        return {preset.name: preset for preset in self.request.output.chosen}

    def _environment(self, conversion: Conversion) -> list[Setting]:
        preset = self._presets[conversion.preset]
        return as_settings(
            {
                "OUTPUT": _file(preset),
                "SOUND": "\n".join(map(str, conversion.sounds)),
                "PICTURE": str(conversion.picture or ""),
                "SOURCE_MD5": conversion.source.md5,
                "FFMPEG_ARGUMENTS": "\n".join((*preset.arguments, *conversion.arguments)),
                "PREFERRED_ARGUMENTS": "\n".join(conversion.preferred_arguments),
                "MOST_BIT_RATE": str(most_bit_rate(preset) or ""),
                "FILES_PER_VCPU": str(crowding(self.request.pool)),
                "TAGS": conversion.tags,
            }
        )

    @cached_property
    def _reading(self) -> ReadAccess:
        return read_access(self.signer, self.request.pool.identity)

    @cached_property
    def _runner(self) -> ResourceFile:
        blob = runner_blob(self.ticket.lock_id, RUNNER)
        return self._resource_file(self.request.cleanup.container, blob, path="runner.sh")

    def _input(self, conversion: Conversion) -> ResourceFile:
        if is_blob(conversion.source):
            container, blob = split_address(conversion.source.location)
        else:
            container = self.request.cleanup.container
            name = input_name(conversion.content, str(conversion.excerpt or ""))
            blob = input_blob(self.ticket.lock_id, name)
        return self._resource_file(container, blob, path="input")

    def _resource_file(self, container: str, blob: str, *, path: str) -> ResourceFile:
        url = self._reading.blob_url(container, blob)
        return {"httpUrl": url, "filePath": path, **self._reading.identity}

    @cached_property
    def _logs_url(self) -> str:
        return self.signer.container_url(log_container(self.request.cleanup.container))

    def _destination(self, url: str, *, path: str, headers: Mapping[str, str]) -> Destination:
        return {
            "container": {
                "containerUrl": url,
                "path": path,
                "uploadHeaders": as_settings(headers),
            }
        }

    def _output(self, conversion: Conversion) -> OutputFile:
        preset = self._presets[conversion.preset]
        kind = {"x-ms-blob-content-type": preset.content_type}
        return {
            "filePattern": _file(preset),
            "destination": self._destination(
                self.signer.upload_url(self.request.output.container, conversion.output),
                path=conversion.output,
                headers=kind | as_headers(stamp_metadata(conversion)),
            ),
            "uploadOptions": {"uploadCondition": "tasksuccess"},
        }

    def _logs(self, batch_task: str) -> list[OutputFile]:
        """Return the uploads of the printed output and of the marker with the seconds written."""
        folder = log_folder(self.ticket.lock_id, self.ticket.run_id)
        folder += log_name(batch_task, self.ticket.log_secret)
        destination = self._destination(self._logs_url, path=folder, headers=as_headers(OWN))
        conditions: dict[str, UploadCondition] = {
            "../std*.txt": self._when_to_log,
            "seconds-*": "tasksuccess",
        }
        return [
            {
                "filePattern": pattern,
                "destination": destination,
                "uploadOptions": {"uploadCondition": condition},
            }
            for pattern, condition in conditions.items()
        ]

    @property
    def _when_to_log(self) -> UploadCondition:
        """Upload logs of failures only, unless they are kept. That saves two requests per file."""
        return "taskcompletion" if self.request.cleanup.inputs == "keep" else "taskfailure"


def _file(preset: Preset) -> str:
    return f"output{preset.suffix}"


def as_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    return {f"x-ms-meta-{name}": value for name, value in metadata.items()}


def as_settings(values: Mapping[str, str]) -> list[Setting]:
    return [{"name": name, "value": value} for name, value in values.items()]
