"""The conversions of a run: a pool, a job, and waves that go out while the watcher looks on."""

import asyncio
from collections.abc import Collection, Coroutine, Iterator, Sequence
from typing import Any

from azure.core.exceptions import AzureError

from flows.work import Work
from tasks.completion import Ending, is_service_fault, look_once, watch_completion
from tasks.job import make_job
from tasks.models import Conversion, Plan
from tasks.outputs import collect_outputs
from tasks.pool import make_pool
from tasks.stage import whole
from tasks.submission import submit_wave
from tasks.uploads import upload_wave

FIRST_WAVE_FILES = 8
GROWTH = 4  # of the waves, up to the largest that the limits allow
ATTEMPTS = 2  # the second is for what a transfer or a lost node spoilt


async def convert_pending(work: Work, plan: Plan, *, inputs: Collection[str]) -> None:
    request, ticket, timed = work.request, work.ticket, work.stopwatch.time
    work.tally.files = len(plan.pending)
    pool = make_pool(ticket, request.pool, node=request.node, files=len(plan.pending))
    await timed("pool", pool)
    await timed("job", make_job(ticket, request))
    conversions: Sequence[Conversion] = plan.pending
    for attempt in range(1, ATTEMPTS + 1):
        ending = await convert_all(work, conversions, attempt=attempt, inputs=inputs)
        work.outcomes, work.diagnosis = ending.outcomes, ending.diagnosis
        spoilt = {o.key for o in ending.outcomes if o.attempt == attempt and is_service_fault(o)}
        conversions = [c for c in conversions if c.key in spoilt]
        if work.diagnosis or not conversions:
            break
        inputs = ()  # they may be what was missing
    collecting = collect_outputs(
        whole(plan.pending), whole(work.outcomes), ticket=ticket, request=request
    )
    work.evidence = await timed("outputs", collecting)


async def convert_all(
    work: Work, conversions: Sequence[Conversion], *, attempt: int, inputs: Collection[str]
) -> Ending:
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
        return await beside(sending, work.stopwatch.time("completion", watching))
    except AzureError:  # a wave cannot go out, perhaps because somebody ended the job
        if ending := await look_once(work.ticket):
            return ending
        raise
    finally:
        work.is_watched = False


async def send_waves(
    work: Work, conversions: Sequence[Conversion], *, attempt: int, inputs: Collection[str]
) -> None:
    """Upload and submit, wave by wave, while earlier waves convert."""
    request, tally, timed = work.request, work.tally, work.stopwatch.time
    tally.is_closed = False
    present = set(inputs)
    for number, wave in enumerate(waves(conversions, request.limits.wave_files), start=1):
        if tally.is_stopped:
            return
        uploading = upload_wave(
            whole(wave), wave=number, ticket=work.ticket, request=request, present=whole(present)
        )
        refused = await timed(f"upload wave {number}", uploading)
        locations = {refusal.source.location for refusal in refused}
        ready = [c for c in wave if c.source.location not in locations]
        present.update(c.content for c in ready)
        submitting = submit_wave(
            whole(ready), wave=number, attempt=attempt, ticket=work.ticket, request=request
        )
        refused += await timed(f"submit wave {number}", submitting)
        work.refusals += refused
        tally.refused += len(refused)
        tally.submitted += len(wave) - len(refused)
    tally.is_closed = True


def waves(conversions: Sequence[Conversion], largest: int) -> Iterator[Sequence[Conversion]]:
    """Each GROWTH times the one before it: nodes have work while most is uploaded."""
    start, size = 0, min(FIRST_WAVE_FILES, largest)
    while start < len(conversions):
        yield conversions[start : start + size]
        start, size = start + size, min(GROWTH * size, largest)


async def beside(sending: Coroutine[Any, Any, None], watch: Coroutine[Any, Any, Ending]) -> Ending:
    """Watch while the waves go out. Whichever fails stops the other; so does the watch's end."""
    waves_task, watch_task = asyncio.create_task(sending), asyncio.create_task(watch)
    both = {waves_task, watch_task}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not watch_task.done():
            waves_task.result()
        return await watch_task
    finally:
        await end_both(waves_task, watch_task)


async def end_both(*tasks: asyncio.Task[Any]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
