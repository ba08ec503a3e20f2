"""Waves: groups of files that are uploaded and submitted together, while earlier ones convert."""

import asyncio
import itertools
import math
import time
from collections.abc import Collection, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from azure.core.exceptions import AzureError

from tasks.causes import retryable
from tasks.completion import Completion, find_completion
from tasks.concurrency import cancel_all
from tasks.media.expected_work import expected_seconds_of_work, longest_first
from tasks.media.remuxers import Remuxers
from tasks.models import NO_EXCERPTS, Conversion, Excerpts, Plan, Refusal
from tasks.run import RunState
from tasks.stage import unvisited
from tasks.submission import TASKS_PER_REQUEST, submit_wave
from tasks.uploads import Uploads, as_sent, is_missing, upload_wave

FIRST_WAVE_FILES = 8
GROWTH = 4  # from wave to wave, up to the limit of the parameters
WAVE_SECONDS = 5  # to upload a wave: nodes wait for the whole of it


@dataclass(frozen=True, slots=True)
class Attempt:
    """The conversions that a run sends at its first or a later attempt, the longest first."""

    number: int
    conversions: Sequence[Conversion]
    present: Collection[str]  # names of uploads that storage has already, as in input_name


def first_attempt(plan: Plan, *, present: Collection[str]) -> Attempt:
    return Attempt(1, longest_first(plan.pending), present)


def next_attempt(
    attempt: Attempt,
    completion: Completion,
    *,
    retries: int,
    excerpts: Excerpts = NO_EXCERPTS,
) -> Attempt | None:
    """Return the conversions to send again as new batch tasks, or None if there are none.

    Batch itself retries none: it would also retry sources that can never be converted. Whatever
    the fault of an excerpt is, the whole source is tried next.
    """
    causes = retryable(
        completion.batch_results, attempt=attempt.number, retries=retries, excerpts=excerpts
    )
    failed = [c for c in attempt.conversions if c.key in causes]
    if completion.diagnosis or not failed:
        return None
    # If a transfer failed, the upload itself may be missing. Before a crash it was there.
    cut = excerpts.get(attempt.number, ())
    suspect = {c.content for c in failed if causes[c.key] == "transfer" or c.key in cut}
    present = {c.content for c in failed} - suspect
    conversions = [c if causes[c.key] == "transfer" else as_whole(c) for c in failed]
    return Attempt(attempt.number + 1, conversions, present)


def as_whole(conversion: Conversion) -> Conversion:
    """Return the conversion of the whole source."""
    return replace(conversion, excerpted=None) if conversion.excerpted else conversion


async def watched(
    run: RunState,
    *,
    sending: Coroutine[Any, Any, None],
    watching: Coroutine[Any, Any, Completion],
) -> Completion:
    """Send waves while the watcher looks. Return how the watch ended, and note it in `run`."""
    run.is_watched = True
    try:
        completion = await beside(sending, watching)
    except AzureError:  # perhaps because the job was ended: then that is the reason
        found = await find_completion(run.ticket)
        if found is None:
            raise
        completion = found
    finally:
        run.is_watched = False
    run.note_results(completion.batch_results)
    run.diagnosis = completion.diagnosis
    return completion


async def beside(
    sending: Coroutine[Any, Any, None], watching: Coroutine[Any, Any, Completion]
) -> Completion:
    """Run both. Either one that fails stops the other; so does the end of the watch."""
    waves, watch = asyncio.create_task(sending), asyncio.create_task(watching)
    try:
        await asyncio.wait({waves, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not watch.done():
            waves.result()
        return await watch
    finally:
        await cancel_all(waves, watch)


def make_remuxers(run: RunState) -> Remuxers:
    """Return what writes the excerpts of a run."""
    source_bytes = sum(c.source.size_bytes for c in run.pending if c.excerpted)
    return Remuxers(source_bytes=source_bytes, at_once=run.request.limits.uploads_at_once)


async def send_waves(run: RunState, attempt: Attempt, remuxers: Remuxers) -> None:
    """Upload and submit, wave by wave, until all are sent or the watcher stops it."""
    tally, limits = run.tally, run.request.limits
    tally.is_closed = False
    tally.forecast.expect(
        works_of(attempt.conversions),
        uploads=uploads_of(attempt.conversions, attempt.present),
        now=time.monotonic(),
    )
    uploads = Uploads(set(attempt.present), run.sent, remuxers)
    waiting, pace, number = attempt.conversions, Pace(), 0
    while waiting and not tally.is_stopped:
        number += 1
        allowed = waiting[: limits.wave_files]
        wave = next_wave(allowed, pace, present=uploads.present, at_once=limits.uploads_at_once)
        pace = await send_wave(run, wave, number=number, attempt=attempt.number, uploads=uploads)
        waiting = waiting[len(wave) :]
    tally.is_closed = not waiting


async def send_wave(
    run: RunState,
    wave: Sequence[Conversion],
    *,
    number: int,
    attempt: int,
    uploads: Uploads,
) -> "Pace":
    """Upload and submit one wave. Return the next pace."""
    before_bytes, started = uploads.sent_bytes, time.monotonic()
    ticket, request = run.ticket, run.request
    refused = await upload_wave(
        unvisited(wave), wave=number, ticket=ticket, request=request, uploads=unvisited(uploads)
    )
    seconds = time.monotonic() - started
    uploaded_bytes = uploads.sent_bytes - before_bytes
    ready = [as_sent(c, uploads.present) for c in without(wave, refused)]
    run.excerpts.setdefault(attempt, set()).update(c.key for c in ready if c.excerpted)
    run.unread.update(c.key for c in ready)  # at an error, Batch may have accepted some
    refused += await submit_wave(
        unvisited(ready), wave=number, attempt=attempt, ticket=ticket, request=request
    )
    run.refusals += refused
    sent = works_of(without(ready, refused))
    run.tally.forecast.note_wave(sent, files=len(wave), now=time.monotonic())
    run.tally.refused += len(refused)
    run.tally.submitted += len(wave) - len(refused)
    return next_pace(len(wave), uploaded_bytes=uploaded_bytes, seconds=seconds)


def without(wave: Sequence[Conversion], refused: Sequence[Refusal]) -> list[Conversion]:
    pairs = {(refusal.source.location, refusal.preset) for refusal in refused}
    return [c for c in wave if (c.source.location, c.preset) not in pairs]


def works_of(conversions: Iterable[Conversion]) -> Iterator[float]:
    return map(expected_seconds_of_work, conversions)


def uploads_of(conversions: Iterable[Conversion], present: Collection[str]) -> Iterator[int]:
    """Yield the bytes to upload for each conversion. Those of one content share an upload."""
    present = set(present)
    for conversion in conversions:
        yield upload_bytes(conversion, present)
        present.add(conversion.content)


@dataclass(frozen=True, slots=True)
class Pace:
    """The most that the next wave may have."""

    files: int = FIRST_WAVE_FILES
    upload_bytes: float = math.inf


def next_wave(
    waiting: Sequence[Conversion], pace: Pace, *, present: Collection[str], at_once: int
) -> Sequence[Conversion]:
    """Return as many as the pace allows, but at least as many as are uploaded in parallel."""
    allowed = waiting[: pace.files]
    totals = itertools.accumulate(upload_bytes(conversion, present) for conversion in allowed)
    in_time = sum(total <= pace.upload_bytes for total in totals)
    return allowed[: in_full_requests(max(in_time, at_once))]


def in_full_requests(files: int) -> int:
    """Round down to full requests to Batch, if there is one."""
    return files if files < TASKS_PER_REQUEST else files - files % TASKS_PER_REQUEST


def next_pace(files: int, *, uploaded_bytes: int, seconds: float) -> Pace:
    """Return the pace after a wave of that many files, which took that long to upload."""
    in_time = uploaded_bytes * WAVE_SECONDS / max(seconds, 0.001)
    return Pace(GROWTH * files, in_time or math.inf)


def upload_bytes(conversion: Conversion, present: Collection[str]) -> int:
    """Return what is expected. Zero for content that is already uploaded."""
    return conversion.bytes_to_send if is_missing(conversion, present) else 0
