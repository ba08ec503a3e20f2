"""Convert a library of media on Azure Batch: the flow, and the command that runs it.

python flows/convert.py [SOURCE]... [--preset mp3] [--download-to DIR] …
"""

if __name__ == "__main__":  # ahead of Prefect, which takes a second: the command may only want help
    from flows.start import end_on_signals

    end_on_signals()

    from flows.command import convert_app, leave, main

    leave(main(convert_app))

import asyncio
import logging
import uuid
from collections.abc import Collection, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

from azure.core.exceptions import AzureError
from prefect import flow, get_client, runtime
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.flows import Flow
from prefect.logging.handlers import APILogHandler
from prefect.states import Cancelled, Failed

from tasks.cancellation import CANCELLED, LOOK_SECONDS, is_cancelling
from tasks.cleanup import clean_up, end_predecessor
from tasks.clients import batch_client, explained
from tasks.completion import (
    Ending,
    is_service_fault,
    list_outcomes,
    look_once,
    watch_completion,
)
from tasks.containers import make_containers
from tasks.credentials import named_accounts
from tasks.errors import (
    AccountError,
    ConvertError,
    FilesFailedError,
    OutputInUseError,
    ReportUnwrittenError,
)
from tasks.events import announce_error, announce_report
from tasks.job import make_job
from tasks.lock import LEASE_SECONDS, RETRY_SECONDS, Held, has_predecessor, hold_lock
from tasks.models import Check, Conversion, Diagnosis, Evidence, Outcome, Plan, Refusal, Ticket
from tasks.naming import job_id, lock_id
from tasks.nodes import Roster
from tasks.outputs import collect_outputs, download_outputs
from tasks.page import show_report
from tasks.parameters import Cleanup, Limits, Node, Output, Pool, Request, Run
from tasks.plan import confirm_plan, make_plan
from tasks.pool import make_pool, warm_pool_id
from tasks.preflight import preflight
from tasks.progress import Stopwatch, Tally, publish
from tasks.report import Ledger, Report, make_report, write_report
from tasks.settings import using
from tasks.sources import AZURE
from tasks.submission import submit_wave
from tasks.uploads import upload_wave

ATTEMPTS = 2  # the second is for what a transfer or a lost node spoilt
NAME_PARTS = 2  # of a path in a run's name
LAST_LOOK_SECONDS = 4  # that an interrupted run takes to see how far it came
STAGES = logging.getLogger("tasks")


class RunPageHandler(APILogHandler):
    """Sends what the stages log to the run's page; what is logged outside of a run has none."""

    def filter(self, record: logging.LogRecord) -> bool:
        return FlowRunContext.get() is not None and bool(super().filter(record))


STAGES.setLevel(logging.INFO)
if not STAGES.handlers:
    STAGES.addHandler(RunPageHandler())


@dataclass(kw_only=True)
class Work:
    """A run under way: what it was asked to do, and what has come of it so far."""

    request: Request
    ticket: Ticket
    plan: Plan | None = None
    tally: Tally = field(default_factory=Tally)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    roster: Roster = field(default_factory=Roster)
    refusals: list[Refusal] = field(default_factory=list)
    outcomes: tuple[Outcome, ...] = ()
    evidence: Evidence | None = None
    diagnosis: Diagnosis | None = None
    is_watched: bool = False  # the watcher looks whether the run is cancelled
    is_settled: bool = False  # what came of each file is known; what is left is to clean up
    checks: tuple[Check, ...] = ()

    def ledger(self, plan: Plan) -> Ledger:
        return Ledger(
            plan=plan,
            request=self.request,
            ticket=self.ticket,
            refusals=tuple(self.refusals),
            outcomes=self.outcomes,
            evidence=self.evidence or Evidence({}, {}, {}),
            diagnosis=self.diagnosis,
            spans=tuple(self.stopwatch.spans),
            nodes=self.roster.nodes,
            checks=self.checks,
        )


def describe() -> str:
    """A run's name: what it converts, and to what."""
    parameters: dict[str, Any] = runtime.flow_run.parameters
    first, *others = parameters["sources"] or ["nothing"]
    more = f" and {len(others)} more" if others else ""
    return (
        f"{short(first)}{more} to {', '.join(Output.model_validate(parameters['output']).presets)}"
    )


def short(source: str) -> str:
    """The end of a path: that is what tells one from another. Addresses stay whole."""
    is_path = not source.startswith(AZURE)
    return "/".join(PurePath(source).parts[-NAME_PARTS:]) if is_path else source


async def end_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  the names by which Prefect calls hooks
    """End the job and the pool of a run that could not do so itself."""
    async with get_client() as client:  # a worker hands over the run as it was before its start
        flow_run = await client.read_flow_run(flow_run.id)
    request = Request.model_validate(flow_run.parameters)
    ticket = issue_ticket(request, run_id=flow_run.id.hex, run_count=flow_run.run_count)
    with using(await named_accounts(request.run.account)):
        await clean_up.fn(ticket, request.cleanup, is_finished=False)


@flow(
    name="convert",
    flow_run_name=describe,
    on_cancellation=[end_run],
    on_crashed=[end_run],
    persist_result=False,
)
async def convert(  # noqa: D417  Prefect's form has the others' words from their models
    sources: list[str],
    output: Output = Output(),
    run: Run = Run(),
    pool: Pool = Pool(),
    node: Node = Node(),
    limits: Limits = Limits(),
    cleanup: Cleanup = Cleanup(),
) -> Report | State[Any]:
    """Convert media files in parallel on Azure Batch with ffmpeg.

    Every source ends, by each preset, in one state: converted, skipped, failed, not started or
    interrupted.
    What is converted already is skipped: running again does only what is missing.

    Args:
        sources: Files, folders, globs or az://container/prefix.

    Raises:
        FilesFailedError: some files are not converted; it bears the report.
        ReportUnwrittenError: its file cannot be written; it bears the report, too.
        ConvertError: nothing could be done; it says what to do about it.
    """
    request = Request(
        sources=sources,
        output=output,
        run=run,
        pool=pool,
        node=node,
        limits=limits,
        cleanup=cleanup,
    )
    try:
        with using(await named_accounts(run.account)):
            return await run_request(request)
    except Exception as error:
        announce_error(error, output)
        raise


async def run_request(request: Request) -> Report | State[Any]:
    run_id = uuid.UUID(runtime.flow_run.id).hex
    work = Work(
        request=request,
        ticket=issue_ticket(request, run_id=run_id, run_count=runtime.flow_run.run_count),
    )
    try:
        plan = await unless_cancelled(work)
    except BaseException as reason:
        if work.plan:
            report = report_early_end(work.ledger(work.plan))
            if isinstance(reason, Exception):
                await show_report(report, request)
        raise
    if plan is None:
        return Cancelled(message=CANCELLED.summary)
    try:
        report = await make_report(work.ledger(plan))
    except ReportUnwrittenError as unwritten:
        publish(unwritten.report)
        await show_report(unwritten.report, request)
        raise
    publish(report)
    await show_report(report, request)
    if await is_cancelling(runtime.flow_run.id):
        return Cancelled(message=report.headline, data=report)  # Prefect takes no other end then
    announce_report(report)
    if report.is_success:
        return report
    error = FilesFailedError(f"{report.headline}.", "The report has the reasons.", report)
    return Failed(message=report.headline, data=error)


async def unless_cancelled(work: Work) -> Plan | None:
    """Work through a run, or as far as it comes until somebody cancels it in Prefect."""
    working = asyncio.create_task(work_through(work))
    asking = asyncio.create_task(until_cancelled(work))
    try:
        await asyncio.wait({working, asking}, return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            working.cancel()
        return await working
    except asyncio.CancelledError:
        if not asking.done():  # a signal
            raise
        work.diagnosis = work.diagnosis or CANCELLED
        return work.plan
    finally:
        await end_both(working, asking)


async def until_cancelled(work: Work) -> None:
    """While batch tasks run, the watcher looks, and ends them in its own way."""
    while work.is_watched or not await is_cancelling(runtime.flow_run.id):  # noqa: ASYNC110  it asks
        await asyncio.sleep(LOOK_SECONDS)


async def end_both(*tasks: asyncio.Task[Any]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def report_early_end(ledger: Ledger) -> Report:
    """Say how far a run came that an error stops; that error is the one to be raised."""
    try:
        report = write_report(ledger)
    except ReportUnwrittenError as error:
        STAGES.error(str(error))
        report = error.report
    publish(report)
    return report


def issue_ticket(request: Request, *, run_id: str, run_count: int) -> Ticket:
    now = datetime.now(UTC)
    name = job_id(run_id, run_count=run_count)
    return Ticket(
        run_id=run_id,
        lock_id=lock_id(request.output.container, request.output.prefix),
        job_id=name,
        pool_id=pool_name(request, now=now) or name,
        owns_pool=not pool_name(request, now=now),
        started_at=now,
        deadline=now + timedelta(minutes=request.limits.deadline_minutes),
    )


def pool_name(request: Request, *, now: datetime) -> str:
    """Of the pool that runs share; empty for one of the run's own."""
    if request.pool.keep_warm_minutes:
        return warm_pool_id(request.pool, request.node, now=now)
    return request.pool.id


async def work_through(work: Work) -> Plan:
    """Plan, convert what is pending, and fetch what was asked for."""
    request = work.request
    try:
        work.plan = plan = await plan_and_check(work)
        if request.run.dry_run:
            return plan
        if plan.pending:
            plan = await convert_locked(work, plan, wait_seconds=request.limits.lock_wait_seconds)
        elif plan.done and await has_predecessor(work.ticket, container=request.cleanup.container):
            plan = await end_remains(work, plan)
        if request.output.download_to:
            downloading = download_outputs(work.ledger(plan).converted, output=request.output)
            await work.stopwatch.time("download", downloading)
    except AzureError as error:
        told = explained(error)
        if work.plan:  # settings that did until now, as a sign-in that has expired since
            told = AccountError(told.problem, told.remedy)
        raise told from error
    return plan


async def plan_and_check(work: Work) -> Plan:
    """Ask the accounts while the sources are read. What they lack explains a plan that failed."""
    timed = work.stopwatch.time
    planning = asyncio.create_task(timed("plan", make_plan(work.request)))
    checking = asyncio.create_task(timed("preflight", preflight(work.request, work.ticket)))
    try:
        await asyncio.wait({planning, checking}, return_when=asyncio.FIRST_EXCEPTION)
        if planning.done() and isinstance(planning.exception(), ConvertError):
            return await planning
        work.checks = await checking
        return await planning
    finally:
        await end_both(planning, checking)


async def end_remains(work: Work, plan: Plan) -> Plan:
    """End what a run left that was stopped when all was converted; one that lives keeps its own."""
    try:
        return await convert_locked(work, plan, wait_seconds=LEASE_SECONDS + RETRY_SECONDS)
    except OutputInUseError:
        return work.plan or plan


async def convert_locked(work: Work, plan: Plan, *, wait_seconds: float) -> Plan:
    """Convert under the lock on the output, as the plan stands then."""
    request, timed = work.request, work.stopwatch.time
    containers = request.cleanup.container, request.output.container
    await timed("containers", make_containers(*containers))
    lock = hold_lock(
        work.ticket,
        container=request.cleanup.container,
        wait_seconds=wait_seconds,
    )
    try:
        async with AsyncExitStack() as stack:
            held = await timed("lock", stack.enter_async_context(lock))
            return await convert_held(work, plan, held)
    except OutputInUseError as error:
        if not work.is_settled:
            raise
        STAGES.warning("%s All files had come to their end by then.", error.problem)
        return work.plan or plan


async def convert_held(work: Work, plan: Plan, held: Held) -> Plan:
    request, ticket, timed = work.request, work.ticket, work.stopwatch.time
    work.plan = plan = await timed("confirm", confirm_plan(plan, request))
    if held.predecessor:
        await end_predecessor(held.predecessor, lock_id=ticket.lock_id)
    try:
        if plan.pending:  # else all are converted just now, or had been
            await convert_pending(work, plan, inputs=held.inputs)
        work.is_settled = True
        cleaning = clean_up(ticket, request.cleanup, is_finished=work.diagnosis is None)
        await timed("cleanup", cleaning)
    except BaseException:
        await asyncio.shield(break_off(work))
        raise
    if work.diagnosis is None:
        await held.forget()
    return plan


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
    collecting = collect_outputs(work.outcomes, ticket=ticket, request=request)
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
            wave, wave=number, ticket=work.ticket, request=request, present=present
        )
        refused = await timed(f"upload wave {number}", uploading)
        locations = {refusal.source.location for refusal in refused}
        ready = [c for c in wave if c.source.location not in locations]
        present.update(c.content for c in ready)
        submitting = submit_wave(
            ready, wave=number, attempt=attempt, ticket=work.ticket, request=request
        )
        refused += await timed(f"submit wave {number}", submitting)
        work.refusals += refused
        tally.refused += len(refused)
        tally.submitted += len(wave) - len(refused)
    tally.is_closed = True


def waves(conversions: Sequence[Conversion], size: int) -> Iterator[Sequence[Conversion]]:
    for start in range(0, len(conversions), size):
        yield conversions[start : start + size]


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


async def break_off(work: Work) -> None:
    """See how far a run came that is stopped, then end what it left running."""
    with suppress(AzureError, TimeoutError):
        async with asyncio.timeout(LAST_LOOK_SECONDS), batch_client() as batch:
            work.outcomes = await list_outcomes(batch, work.ticket.job_id)
            await work.roster.look(batch, work.ticket.pool_id, now=datetime.now(UTC))
            work.evidence = await collect_outputs.fn(
                work.outcomes, ticket=work.ticket, request=work.request
            )
    try:
        await clean_up.fn(work.ticket, work.request.cleanup, is_finished=False)
    except AzureError as error:
        STAGES.error(
            "%s If the pool %s and the job %s were made, they end by themselves at %s.",
            explained(error).problem,
            work.ticket.pool_id,
            work.ticket.job_id,
            work.ticket.deadline.isoformat(timespec="seconds"),
        )
