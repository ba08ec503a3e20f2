"""The conversions of a run: a pool, a job, and waves that go out while the watcher looks on."""

import asyncio
import itertools
import math
import time
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError

from flows.work import Work
from tasks.azure.batch_results import is_service_fault
from tasks.cleanup import release_nodes
from tasks.completion import Completion, find_completion, watch_completion
from tasks.concurrency import cancel_all
from tasks.job import make_job
from tasks.models import Conversion, Plan, Refusal
from tasks.outputs import collect_outputs
from tasks.pool import make_pool
from tasks.stage import unvisited
from tasks.submission import TASKS_PER_REQUEST, submit_wave
from tasks.uploads import is_missing, upload_wave

FIRST_WAVE_FILES = 8
GROWTH = 4  # of the waves, up to the largest that the limits allow
WAVE_SECONDS = 5  # that a wave may take to upload: for so long nodes wait for it
ATTEMPTS = 2  # the second is for what a transfer or a lost node spoilt


async def convert_pending(work: Work, plan: Plan, *, inputs: Collection[str]) -> None:
    request, ticket = work.request, work.ticket
    work.tally.files = len(plan.pending)
    pool = make_pool(ticket, request.pool, node=request.node, files=len(plan.pending))
    await pool
    await make_job(ticket, request)
    conversions: Sequence[Conversion] = plan.pending
    for attempt in range(1, ATTEMPTS + 1):
        ending = await convert_all(work, conversions, attempt=attempt, inputs=inputs)
        work.batch_results, work.diagnosis = ending.batch_results, ending.diagnosis
        spoilt = {
            o.key for o in ending.batch_results if o.attempt == attempt and is_service_fault(o)
        }
        conversions = [c for c in conversions if c.key in spoilt]
        if work.diagnosis or not conversions:
            break
        inputs = ()  # they may be what was missing
    if ticket.owns_pool:
        await release(work)
    collecting = collect_outputs(
        unvisited(plan.pending), unvisited(work.batch_results), ticket=ticket, request=request
    )
    work.evidence = await collecting


async def release(work: Work) -> None:
    """Let the nodes go, idle as they are. Where that fails, cleanup tries again and says why."""
    with suppress(AzureError):
        await release_nodes(work.ticket, work.request.cleanup)


async def convert_all(
    work: Work, conversions: Sequence[Conversion], *, attempt: int, inputs: Collection[str]
) -> Completion:
    sending = send_waves(work, conversions, attempt=attempt, inputs=inputs)
    watching = watch_completion(
        work.ticket,
        work.tally,
        work.roster,
        has_fallback=work.request.pool.fallback_minutes > 0,
        max_node_hours=work.request.limits.max_node_hours,
    )
    try:
        work.is_watched = True
        return await beside(sending, watching)
    except AzureError:  # a wave cannot go out, perhaps because somebody ended the job
        if ending := await find_completion(work.ticket):
            return ending
        raise
    finally:
        work.is_watched = False


@dataclass(frozen=True, slots=True)
class Pace:
    """What the next wave may have at most."""

    files: int = FIRST_WAVE_FILES
    upload_bytes: float = math.inf


async def send_waves(
    work: Work, conversions: Sequence[Conversion], *, attempt: int, inputs: Collection[str]
) -> None:
    """Upload and submit, wave by wave, while earlier waves convert."""
    tally, limits = work.tally, work.request.limits
    tally.is_closed = False
    present = set(inputs)
    pace, sent, number = Pace(), 0, 0
    while sent < len(conversions):
        if tally.is_stopped:
            return
        number += 1
        waiting = conversions[sent : sent + limits.wave_files]
        wave = next_wave(waiting, pace, present=present, at_once=limits.uploads_at_once)
        uploaded_bytes = sum(upload_bytes(c, present) for c in wave)
        started = time.monotonic()
        refused = await upload(work, wave, number=number, present=present)
        seconds = time.monotonic() - started
        pace = next_pace(len(wave), uploaded_bytes=uploaded_bytes, seconds=seconds)
        locations = {refusal.source.location for refusal in refused}
        ready = [c for c in wave if c.source.location not in locations]
        present.update(c.content for c in ready)
        refused += await submit(work, ready, number=number, attempt=attempt)
        work.refusals += refused
        tally.refused += len(refused)
        tally.submitted += len(wave) - len(refused)
        sent += len(wave)
    tally.is_closed = True


async def upload(
    work: Work, wave: Sequence[Conversion], *, number: int, present: Collection[str]
) -> tuple[Refusal, ...]:
    uploading = upload_wave(
        unvisited(wave),
        wave=number,
        ticket=work.ticket,
        request=work.request,
        present=unvisited(present),
    )
    return await uploading


async def submit(
    work: Work, wave: Sequence[Conversion], *, number: int, attempt: int
) -> tuple[Refusal, ...]:
    submitting = submit_wave(
        unvisited(wave), wave=number, attempt=attempt, ticket=work.ticket, request=work.request
    )
    return await submitting


def next_wave(
    waiting: Sequence[Conversion], pace: Pace, *, present: Collection[str], at_once: int
) -> Sequence[Conversion]:
    """As many as the pace allows, and no fewer than go up at once: else the line has gaps."""
    allowed = waiting[: pace.files]
    totals = itertools.accumulate(upload_bytes(conversion, present) for conversion in allowed)
    in_time = sum(total <= pace.upload_bytes for total in totals)
    return allowed[: in_requests(max(in_time, at_once))]


def in_requests(files: int) -> int:
    """So many; or a few less, where a request to Batch would not be full."""
    return files if files < TASKS_PER_REQUEST else files - files % TASKS_PER_REQUEST


def next_pace(files: int, *, uploaded_bytes: int, seconds: float) -> Pace:
    """After a wave of so many files that took so long: nodes wait for the whole of a wave."""
    in_time = uploaded_bytes * WAVE_SECONDS / max(seconds, 0.001)
    return Pace(GROWTH * files, in_time or math.inf)


def upload_bytes(conversion: Conversion, present: Collection[str]) -> int:
    """None for what is in storage already."""
    return conversion.source.size_bytes if is_missing(conversion, present) else 0


async def beside(
    sending: Coroutine[Any, Any, None], watch: Coroutine[Any, Any, Completion]
) -> Completion:
    """Watch while the waves go out. Whichever fails stops the other; so does the watch's end."""
    waves_task, watch_task = asyncio.create_task(sending), asyncio.create_task(watch)
    both = {waves_task, watch_task}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not watch_task.done():
            waves_task.result()
        return await watch_task
    finally:
        await cancel_all(waves_task, watch_task)
