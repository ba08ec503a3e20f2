"""The pipeline: every stage, in the order of a run.

python flows/convert.py [SOURCE]... [--preset mp3] [--download-to DIR] …
"""

if __name__ == "__main__":  # before Prefect is imported, which takes a second: --help is quick
    from flows.cli.startup import run_convert

    run_convert()

import asyncio
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import AzureError
from prefect import flow, get_client, runtime
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.states import Cancelled, Completed, Failed

from tasks.azure.account_block import named_accounts
from tasks.azure.api_errors import lacks_role
from tasks.azure.settings import using_accounts
from tasks.cancellation import CANCELLED, is_cancelling
from tasks.cleanup import clean_up, end_predecessor, release_nodes
from tasks.completion import watch_completion
from tasks.concurrency import cancel_all
from tasks.containers import make_containers
from tasks.errors import ConvertError, FilesFailedError, ReportUnwrittenError
from tasks.interruption import (
    ENDED_HERE,
    announced_errors,
    ending_pool_and_job,
    lock_loss_tolerated_at_the_end,
    raised_termination,
    report_requested_end,
    reported_early_end,
    unless_ended,
)
from tasks.job import make_job
from tasks.known_failures import learn
from tasks.lock import hold_lock
from tasks.models import Plan
from tasks.naming import log_container
from tasks.outages import patiently
from tasks.outputs import collect_outputs, download_outputs
from tasks.parameters import Cleanup, Limits, Node, Output, Pool, Request, Run
from tasks.plan import confirm_plan, make_plan
from tasks.pool import make_pool
from tasks.preflight import preflight
from tasks.report import make_report
from tasks.results.artifacts import show_report
from tasks.results.events import announce_report
from tasks.results.listeners import publish
from tasks.results.run_log import show_stage_logs
from tasks.results.run_report import Report
from tasks.run import (
    RunState,
    has_work,
    issue_ticket,
    lock_wait_seconds,
    new_run,
    settle_pool,
)
from tasks.run_names import run_name
from tasks.stage import recording, unvisited
from tasks.termination import accepted_request
from tasks.waves import (
    Attempt,
    first_attempt,
    make_remuxers,
    next_attempt,
    send_waves,
    watched,
)

show_stage_logs()


async def end_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  Prefect calls hooks by these names
    """End the pool and the job of a run that could not do so itself."""
    async with get_client() as client:  # a worker passes the run as it was before its start
        flow_run = await client.read_flow_run(flow_run.id)
    request = Request.model_validate(flow_run.parameters)
    ticket = issue_ticket(
        request, run_id=flow_run.id.hex, run_count=flow_run.run_count, now=datetime.now(UTC)
    )
    if ticket.job_id in ENDED_HERE:
        return
    with using_accounts(await named_accounts(request.run.account)):
        await patiently(lambda: clean_up.fn(ticket, request.cleanup, is_finished=False))


@flow(
    name="convert",
    flow_run_name=run_name,
    on_cancellation=[end_run],
    on_crashed=[end_run],
    persist_result=False,
)
async def convert(  # noqa: D417  Prefect's form takes the other descriptions from their models
    sources: list[str],
    exclude: list[str] = [],  # noqa: B006  Prefect's form shows a list; it is never changed
    output: Output = Output(),
    run: Run = Run(),
    pool: Pool = Pool(),
    node: Node = Node(),
    limits: Limits = Limits(),
    cleanup: Cleanup = Cleanup(),
) -> Report | State[Any]:
    """Convert media files in parallel on Azure Batch with ffmpeg.

    By each preset, every source ends in one state: converted, skipped, failed, not started or
    interrupted. What is already converted is skipped, so a rerun does only what is missing.

    Args:
        sources: Files, folders, globs or az://container/prefix.
        exclude: Globs of sources to leave out, such as '*.part.mp4' or 'drafts/**'.

    Raises:
        FilesFailedError: Some files are not converted. The error has the report.
        ReportUnwrittenError: The report file cannot be written. The error has the report.
        ConvertError: The run could not do its work. The message has the remedy.
    """
    request = Request(
        sources=sources,
        exclude=exclude,
        output=output,
        run=run,
        pool=pool,
        node=node,
        limits=limits,
        cleanup=cleanup,
    )
    with (
        announced_errors(request),
        raised_termination(),
        accepted_request() as requested,
        using_accounts(await named_accounts(run.account)),
    ):
        state = new_run(request)
        with recording(state.stages):
            async with reported_early_end(state):
                await unless_ended(state, run_stages(state), requested=requested)
            return await report(state)


async def run_stages(run: RunState) -> None:
    """Run the stages in order. `run` keeps what they return, for a report on any kind of end."""
    request, ticket = run.request, run.ticket
    run.plan = plan = await plan_beside_preflight(run)
    if request.run.dry_run:
        await settle_pool(run)
        return
    if await has_work(run):
        inputs = request.cleanup.container
        await make_containers(inputs, log_container(inputs), request.output.container)
        with lock_loss_tolerated_at_the_end(run):
            async with hold_lock(ticket, request, wait_seconds=lock_wait_seconds(run)) as lock:
                run.plan = plan = await confirm_plan(unvisited(plan), request)
                await settle_pool(run)
                for each in lock.predecessors:
                    await end_predecessor(each.job_and_pool, lock_id=each.lock_id)
                async with ending_pool_and_job(run, lock):  # on failure, cancellation and signals
                    if plan.pending:
                        await convert_on_nodes(run, plan, uploaded=lock.inputs)
                    await clean_up(ticket, request.cleanup, is_finished=run.diagnosis is None)
                if run.diagnosis is None:
                    await lock.clear_holder()
    if request.output.download_to:
        await download_outputs(unvisited(run.ledger().converted), output=request.output)
        run.is_fetched = True


async def convert_on_nodes(run: RunState, plan: Plan, *, uploaded: Collection[str]) -> None:
    """Nodes boot while files upload; the first files convert while the last ones upload."""
    request, ticket, run.tally.files = run.request, run.ticket, len(plan.pending)
    async with make_remuxers(run) as remuxers:
        await make_pool(ticket, request.pool, node=request.node, files=len(plan.pending))
        await make_job(ticket, request)
        attempt: Attempt | None = first_attempt(plan, present=uploaded)
        while attempt:
            completion = await watched(
                run,
                sending=send_waves(run, attempt, remuxers),  # upload_wave, submit_wave
                watching=watch_completion(
                    ticket,
                    run.tally,
                    run.roster,
                    has_fallback=request.pool.fallback_minutes > 0,
                    max_node_hours=request.limits.max_node_hours,
                ),
            )
            attempt = next_attempt(
                attempt, completion, retries=request.limits.retries, excerpts=run.excerpts
            )
    if ticket.owns_pool:
        with suppress(AzureError):  # cleanup tries again, and reports the error
            await release_nodes(ticket, request.cleanup)
    run.note_evidence(
        await collect_outputs(
            unvisited(plan.pending), unvisited(run.batch_results), ticket=ticket, request=request
        )
    )
    await learn(run.ledger())  # which sources are at fault


async def plan_beside_preflight(run: RunState) -> Plan:
    """Check the accounts while the sources are read. A failed check may explain a failed plan."""
    planning = asyncio.create_task(make_plan(run.request))
    checking = asyncio.create_task(preflight(run.request, run.ticket))
    try:
        await asyncio.wait({planning, checking}, return_when=asyncio.FIRST_EXCEPTION)
        if planning.done() and isinstance(planning.exception(), ConvertError):
            return await planning
        run.checks = await checking
        if planning.done() and lacks_role(planning.exception()):  # and checks have waited for it
            return await make_plan(run.request)
        return await planning
    finally:
        await cancel_all(planning, checking)


async def report(run: RunState) -> Report | State[Any]:
    """Report how every source ended. Return the flow's result, or its state after a failure."""
    if run.is_ended_by_request:
        return await report_requested_end(run)
    if run.plan is None:
        return Cancelled(message=CANCELLED.summary)
    try:
        made = await make_report(unvisited(run.ledger()))
    except ReportUnwrittenError as error:
        await show(error.report, run.request)
        raise
    await show(made, run.request)
    if await is_cancelling(runtime.flow_run.id):
        return Cancelled(message=made.headline, data=made)  # Prefect accepts no other end now
    announce_report(made)
    if made.is_success:
        return Completed(message=made.message, data=made)
    failure = FilesFailedError(f"{made.headline}.", "The report has the reasons.", made)
    return Failed(message=made.headline, data=failure)


async def show(report: Report, request: Request) -> None:
    publish(report)
    await show_report(report, request)
