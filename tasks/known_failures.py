"""Known failures: sources that an earlier run could not convert, and that are at fault themselves.

They cost nothing: they are not probed, uploaded or tried again. `tasks/failure_memory.py` says when
they are forgotten.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from azure.core.exceptions import AzureError
from azure.storage.blob.aio import BlobServiceClient

from tasks.azure.clients import blob_service
from tasks.azure.error_wording import explain
from tasks.azure.memory_store import StoredMemory, read_memory, write_memory
from tasks.causes import cause_of
from tasks.failure_memory import (
    Entry,
    Lesson,
    Tools,
    ffmpeg_origin,
    shortened,
    split_known,
    updated,
)
from tasks.job import RUNNER
from tasks.models import Conversion, KnownFailure
from tasks.naming import batch_task_id, lock_id, memory_blob, memory_container, runner_version
from tasks.parameters import Request
from tasks.results.ledger import Ledger, failure_reason
from tasks.results.runner_output import printed_version
from tasks.results.text import counted
from tasks.stage import stage, unvisited

TRIES = 3  # to write, while other runs write the same blob
logger = logging.getLogger(__name__)


def tools_of(request: Request) -> Tools:
    return Tools(runner_version(RUNNER), ffmpeg_origin(request))


async def separate_known(
    service: BlobServiceClient, conversions: tuple[Conversion, ...], request: Request
) -> tuple[tuple[KnownFailure, ...], tuple[Conversion, ...]]:
    """Return the known failures, and the conversions to try."""
    if not conversions or request.run.force or request.run.retry_failed:
        return (), conversions
    stored = await recall(service, request)
    return split_known(conversions, stored.memory, tools_of(request), now=datetime.now(UTC))


async def recall(service: BlobServiceClient, request: Request) -> StoredMemory:
    return await read_memory(service, *memory_place(request))


def memory_place(request: Request) -> tuple[str, str]:
    """Return the container and the name of the memory's blob.

    It is one for all prefixes: keys contain the whole name of the output.
    """
    lock = lock_id(request.output.container, "")
    return memory_container(request.cleanup.container), memory_blob(lock)


async def learn(ledger: Ledger) -> None:
    """Remember which sources are at fault. A failure to do so is logged and fails nothing."""
    lesson, request = lesson_of(ledger, at=datetime.now(UTC)), ledger.request
    try:
        async with blob_service() as service:
            stored = await recall(service, request)
        if stored.is_writable and updated(stored.memory, lesson) != stored.memory:
            await remember(unvisited(lesson), request)
    except AzureError as error:
        logger.warning("Failures of this run are not remembered. %s", explain(error))


@stage("remember")
async def remember(lesson: Lesson, request: Request) -> None:
    """Update the memory. Other runs into the container may do so at the same time."""
    async with blob_service() as service:
        for _ in range(TRIES):
            stored = await recall(service, request)
            memory = updated(stored.memory, lesson)
            if memory == stored.memory or not stored.is_writable:
                return
            if await write_memory(service, *memory_place(request), stored=stored, memory=memory):
                if lesson.failures:
                    failed = counted(len(lesson.failures), "failed conversion")
                    logger.info("Later runs do not try %s again without --retry-failed", failed)
                return
    logger.warning("Failures of this run are not remembered: another run changes the memory.")


def lesson_of(ledger: Ledger, *, at: datetime) -> Lesson:
    """Return what a run teaches about its sources."""
    tools, evidence = tools_of(ledger.request), ledger.evidence
    failures = dict(entries(ledger, tools, at=at))
    versions = {*evidence.ffmpeg_versions, *(entry.ffmpeg for entry in failures.values())}
    return Lesson(
        tools,
        at,
        failures=failures,
        converted=evidence.sizes.keys(),
        ffmpeg_versions=frozenset(versions - {""}),
    )


def entries(ledger: Ledger, tools: Tools, *, at: datetime) -> Iterator[tuple[str, Entry]]:
    """Yield an entry for each conversion whose source is at fault."""
    for result in ledger.batch_results:
        if cause_of(result, ledger.excerpts) == "source":  # then it was its last attempt
            tail = ledger.evidence.tails.get(batch_task_id(result.key, result.attempt), "")
            entry = Entry(
                reason=shortened(failure_reason(result, tail)),
                failed_at=at,
                runner=tools.runner,
                origin=tools.origin,
                ffmpeg=printed_version(tail),
            )
            yield result.key, entry
