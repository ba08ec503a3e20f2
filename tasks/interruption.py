"""What happens to a run that fails, is cancelled or receives a signal."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast

from azure.core.exceptions import AzureError
from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.states import Crashed

from tasks.azure.batch_results import list_results
from tasks.azure.clients import batch_client
from tasks.azure.error_wording import explain
from tasks.cancellation import CANCELLED, CANCELLED_BY_SIGNAL, LOOK_SECONDS, is_cancelling
from tasks.cleanup import clean_up
from tasks.concurrency import cancel_all
from tasks.errors import AccountError, OutputInUseError, ReportUnwrittenError
from tasks.lock import HeldLock
from tasks.models import Ticket
from tasks.outages import OUTAGE_SECONDS, patiently
from tasks.outputs import collect_outputs
from tasks.parameters import Request
from tasks.report import store_picture, write_report
from tasks.results.artifacts import show_report
from tasks.results.events import announce_error
from tasks.results.listeners import publish
from tasks.results.run_report import Report
from tasks.run import RunState

LAST_LOOK_SECONDS = 4  # for an interrupted run to read how far it came
SIGNAL_SECONDS = 15  # for the cleanup after a signal: whoever sent it may kill the process later
ENDED_HERE: set[str] = set()  # jobs that this process has tried to end
logger = logging.getLogger(__name__)


@contextmanager
def announced_errors(request: Request) -> Iterator[None]:
    """Emit an event if the block fails, so that automations in Prefect can react to it."""
    try:
        yield
    except Exception as error:
        if not request.run.dry_run:
            announce_error(error, request.output)
        raise


@asynccontextmanager
async def reported_early_end(run: RunState) -> AsyncIterator[None]:
    """If the block fails or is interrupted, report how far the run came."""
    try:
        with explained_errors(run):
            yield
    except BaseException:
        if run.plan:
            await report_early_end(run)
        raise


async def report_early_end(run: RunState) -> Report:
    """Write the report, show it to listeners, and then on the run's page in Prefect."""
    await within(LAST_LOOK_SECONDS, note_cancellation(run))
    report = write_early_report(run)
    publish(report)
    await within(LAST_LOOK_SECONDS, store_picture(report, run.ledger()))
    await within(LAST_LOOK_SECONDS, show_report(report, run.request))
    return report


async def note_cancellation(run: RunState) -> None:
    if not run.diagnosis and await is_cancelling(runtime.flow_run.id):
        run.diagnosis = CANCELLED_BY_SIGNAL


async def report_requested_end(run: RunState) -> State[Any]:
    """Report how far the run came before the signal. Return the flow's state."""
    if run.plan is None:
        return Crashed(message="Ended by a signal before the plan was ready.")
    report = await report_early_end(run)
    return Crashed(message=f"Ended by a signal: {report.headline}")


def write_early_report(run: RunState) -> Report:
    """Return the report of a run that failed. If its file cannot be written, only log that."""
    try:
        return write_report(run.ledger())
    except ReportUnwrittenError as error:
        logger.error(str(error))  # noqa: TRY400  the traceback says no more
        return cast("Report", error.report)


@contextmanager
def explained_errors(run: RunState) -> Iterator[None]:
    """Raise an error of Azure's SDKs as one that says what to do."""
    try:
        yield
    except AzureError as error:
        explained = explain(error)
        if run.plan:  # settings that worked until now, for example a sign-in that has expired
            explained = AccountError(explained.problem, explained.remedy)
        raise explained from error


@contextmanager
def lock_loss_tolerated_at_the_end(run: RunState) -> Iterator[None]:
    """Let a run succeed if it loses the lock, or cannot get it, after all files have ended."""
    try:
        yield
    except OutputInUseError as error:
        if not run.is_settled:
            raise
        if run.plan and run.plan.pending:
            logger.warning("%s All files had ended by then.", error.problem)


@asynccontextmanager
async def ending_pool_and_job(run: RunState, lock: HeldLock) -> AsyncIterator[None]:
    """If the block fails or is interrupted, read how far the run came, and end its pool and job."""
    try:
        yield
    except BaseException as reason:
        # A lost lock cancels the block, too. Only a signal or a user is in a hurry.
        is_error = isinstance(reason, Exception) or lock.is_lost
        seconds = OUTAGE_SECONDS if is_error else SIGNAL_SECONDS
        await uninterrupted(break_off(run, cleanup_seconds=seconds))
        raise


async def uninterrupted(ending: Coroutine[Any, Any, None]) -> None:
    """Finish even if cancelled, then re-raise: this stops resources that cost money.

    After a cancellation, it has some seconds: in an outage, it would otherwise take minutes.
    """
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=SIGNAL_SECONDS)
        await cancel_all(task)
        raise


async def break_off(run: RunState, *, cleanup_seconds: float) -> None:
    if not run.is_settled:
        run.is_cut_short = True  # the last look finds evidence, but not for all files
        await within(LAST_LOOK_SECONDS, look_last(run))
    ENDED_HERE.add(run.ticket.job_id)
    try:
        async with asyncio.timeout(cleanup_seconds):
            await patiently(lambda: clean_up.fn(run.ticket, run.request.cleanup, is_finished=False))
    except (AzureError, TimeoutError, asyncio.CancelledError) as error:
        log_unended(run.ticket, error)
        if isinstance(error, asyncio.CancelledError):
            raise
    else:
        if not run.evidence:  # the last look was during an outage, which has ended
            await within(LAST_LOOK_SECONDS, look_at_outputs(run))


async def within(seconds: float, look: Coroutine[Any, Any, None]) -> None:
    """Look for this long, and do without what it would find if it takes longer or fails."""
    with suppress(AzureError, TimeoutError):
        async with asyncio.timeout(seconds):
            await look


def log_unended(ticket: Ticket, error: BaseException) -> None:
    reason = explain(error).problem if isinstance(error, AzureError) else "Batch did not respond."
    logger.error(
        "%s The pool %s and the job %s may still exist. They end by themselves at %s.",
        reason,
        ticket.pool_id,
        ticket.job_id,
        ticket.deadline.isoformat(timespec="seconds"),
    )


async def look_last(run: RunState) -> None:
    """Read results and outputs of the batch tasks.

    Fetch both before noting either: a succeeded task without its output would count as failed.
    """
    async with batch_client() as batch:
        results = await list_results(batch, run.ticket.job_id)
        await run.roster.look(batch, run.ticket.pool_id, now=datetime.now(UTC))
    evidence = await collect_outputs.fn(
        run.pending, results, ticket=run.ticket, request=run.request
    )
    run.note_results(results)
    run.note_evidence(evidence)


async def look_at_outputs(run: RunState) -> None:
    """Read the outputs, after the job has been deleted with the results of its batch tasks."""
    run.evidence = await collect_outputs.fn(
        run.pending, run.batch_results, ticket=run.ticket, request=run.request
    )


async def unless_ended(
    run: RunState, pipeline: Coroutine[Any, Any, None], *, requested: asyncio.Event
) -> None:
    """Run the pipeline to its end, until the run is cancelled in Prefect, or is asked to end."""
    working = asyncio.create_task(pipeline)
    asking = asyncio.create_task(until_cancelled(run))
    waiting = asyncio.create_task(requested.wait())
    try:
        await asyncio.wait({working, asking, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            asking.result()  # a worker's SIGTERM may have been raised in it
        if not working.done():
            working.cancel()
        await working
    except asyncio.CancelledError:
        run.is_ended_by_request = requested.is_set()
        is_cancelled = asking.done() and not asking.cancelled()
        if not (run.is_ended_by_request or is_cancelled):  # a signal, which may cancel all tasks
            raise
        if is_cancelled:
            run.diagnosis = run.diagnosis or CANCELLED
    finally:
        await cancel_all(working, asking, waiting)


async def until_cancelled(run: RunState) -> None:
    """Return once the run is cancelled. While batch tasks run, the watcher looks for that."""
    await asyncio.sleep(LOOK_SECONDS)  # Prefect does not start a run that is being cancelled
    while run.is_watched or not await is_cancelling(runtime.flow_run.id):  # noqa: ASYNC110  it asks
        await asyncio.sleep(LOOK_SECONDS)


@contextmanager
def raised_termination() -> Iterator[None]:
    """Let a worker's SIGTERM end the block wherever it strikes.

    Prefect raises an error wherever Python is at that moment. In a callback, asyncio would only
    log it.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    dropped: list[TerminationSignal] = []

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if task and isinstance(error, TerminationSignal):
            dropped.append(error)
            task.cancel()
        else:
            loop.default_exception_handler(context)

    before = loop.get_exception_handler()
    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
        if task and dropped:  # whatever else happened meanwhile
            task.uncancel()
            raise dropped[0] from None
