"""Convert a library of media on Azure Batch: the flow, and the command that runs it.

python flows/convert.py [SOURCE]... [--preset mp3] [--download-to DIR] …
"""

if __name__ == "__main__":  # ahead of Prefect, which takes a second: the command may only want help
    from flows.cli.start import start

    start()

    from flows.cli.command import convert_app, leave, main

    leave(main(convert_app))

import asyncio
import logging
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

from prefect import flow, get_client, runtime
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.flows import Flow
from prefect.logging.handlers import APILogHandler
from prefect.states import Cancelled, Failed

from flows.cli.termination import heeded_termination
from flows.course import STAGES, work_through
from flows.work import Work
from tasks.azure.account_block import named_accounts
from tasks.azure.settings import using_accounts
from tasks.cancellation import CANCELLED, LOOK_SECONDS, is_cancelling
from tasks.cleanup import clean_up
from tasks.concurrency import cancel_all
from tasks.errors import FilesFailedError, ReportUnwrittenError
from tasks.media.addresses import AZURE
from tasks.models import Plan, Ticket
from tasks.naming import job_id, lock_id
from tasks.parameters import Cleanup, Limits, Node, Output, Pool, Request, Run
from tasks.pool import warm_pool_id
from tasks.report import Report, make_report, write_report
from tasks.results.artifacts import show_report
from tasks.results.events import announce_error, announce_report
from tasks.results.ledger import Ledger
from tasks.results.listeners import publish
from tasks.stage import recording, unvisited

NAME_PARTS = 2  # of a path in a run's name


class RunPageHandler(APILogHandler):
    """Sends what the stages log to the run's page; what is logged outside of a run has none."""

    def filter(self, record: logging.LogRecord) -> bool:
        return FlowRunContext.get() is not None and bool(super().filter(record))


STAGES.setLevel(logging.INFO)
if not STAGES.handlers:
    STAGES.addHandler(RunPageHandler())


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
    with using_accounts(await named_accounts(request.run.account)):
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
        with heeded_termination(), using_accounts(await named_accounts(run.account)):
            return await run_request(request)
    except Exception as error:
        if not run.dry_run:
            announce_error(error, output)
        raise


async def run_request(request: Request) -> Report | State[Any]:
    run_id = uuid.UUID(runtime.flow_run.id).hex
    work = Work(
        request=request,
        ticket=issue_ticket(request, run_id=run_id, run_count=runtime.flow_run.run_count),
    )
    with recording(work.log):
        return await run_work(work)


async def run_work(work: Work) -> Report | State[Any]:
    request = work.request
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
        report = await make_report(unvisited(work.ledger(plan)))
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
            asking.result()  # a worker's SIGTERM may have been raised in there
            working.cancel()
        return await working
    except asyncio.CancelledError:
        if not asking.done() or asking.cancelled():  # a signal, which may end all tasks of the loop
            raise
        work.diagnosis = work.diagnosis or CANCELLED
        return work.plan
    finally:
        await cancel_all(working, asking)


async def until_cancelled(work: Work) -> None:
    """While batch tasks run, the watcher looks, and ends them in its own way."""
    await asyncio.sleep(LOOK_SECONDS)  # Prefect begins no run that is being cancelled
    while work.is_watched or not await is_cancelling(runtime.flow_run.id):  # noqa: ASYNC110  it asks
        await asyncio.sleep(LOOK_SECONDS)


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
