"""The course of a run: plan, take the lock, convert what is pending, clean up, fetch."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import AzureError

from flows.waves import convert_pending
from flows.work import Work
from tasks.azure.batch_results import list_results
from tasks.azure.clients import batch_client
from tasks.azure.error_wording import explain
from tasks.cleanup import clean_up, end_predecessor
from tasks.concurrency import cancel_all
from tasks.containers import make_containers
from tasks.errors import AccountError, ConvertError, OutputInUseError
from tasks.lock import LEASE_SECONDS, RETRY_SECONDS, HeldLock, has_predecessor, hold_lock
from tasks.models import Plan
from tasks.outputs import collect_outputs, download_outputs
from tasks.plan import confirm_plan, make_plan
from tasks.preflight import preflight
from tasks.stage import timing, unvisited

LAST_LOOK_SECONDS = 4  # that an interrupted run takes to see how far it came
STAGES = logging.getLogger("tasks")  # whose lines a run's page shows


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
            names = unvisited(work.ledger(plan).converted)
            downloading = download_outputs(names, output=request.output)
            await downloading
            work.is_fetched = True
    except AzureError as error:
        told = explain(error)
        if work.plan:  # settings that did until now, as a sign-in that has expired since
            told = AccountError(told.problem, told.remedy)
        raise told from error
    return plan


async def plan_and_check(work: Work) -> Plan:
    """Ask the accounts while the sources are read. What they lack explains a plan that failed."""
    planning = asyncio.create_task(make_plan(work.request))
    checking = asyncio.create_task(preflight(work.request, work.ticket))
    try:
        await asyncio.wait({planning, checking}, return_when=asyncio.FIRST_EXCEPTION)
        if planning.done() and isinstance(planning.exception(), ConvertError):
            return await planning
        work.checks = await checking
        return await planning
    finally:
        await cancel_all(planning, checking)


async def end_remains(work: Work, plan: Plan) -> Plan:
    """End what a run left that was stopped when all was converted; one that lives keeps its own."""
    try:
        return await convert_locked(work, plan, wait_seconds=LEASE_SECONDS + RETRY_SECONDS)
    except OutputInUseError:
        return work.plan or plan


async def convert_locked(work: Work, plan: Plan, *, wait_seconds: float) -> Plan:
    """Convert under the lock on the output, as the plan stands then."""
    request = work.request
    containers = request.cleanup.container, request.output.container
    await make_containers(*containers)
    lock = hold_lock(
        work.ticket,
        container=request.cleanup.container,
        wait_seconds=wait_seconds,
    )
    try:
        async with AsyncExitStack() as stack:
            with timing("lock"):
                held = await stack.enter_async_context(lock)
            return await convert_held(work, plan, held)
    except OutputInUseError as error:
        if not work.is_settled:
            raise
        STAGES.warning("%s All files had come to their end by then.", error.problem)
        return work.plan or plan


async def convert_held(work: Work, plan: Plan, held: HeldLock) -> Plan:
    request, ticket = work.request, work.ticket
    work.plan = plan = await confirm_plan(unvisited(plan), request)
    if held.predecessor:
        await end_predecessor(held.predecessor, lock_id=ticket.lock_id)
    try:
        if plan.pending:  # else all are converted just now, or had been
            await convert_pending(work, plan, inputs=held.inputs)
        work.is_settled = True
        cleaning = clean_up(ticket, request.cleanup, is_finished=work.diagnosis is None)
        await cleaning
    except BaseException:
        await to_its_end(break_off(work))
        raise
    if work.diagnosis is None:
        await held.clear_holder()
    return plan


async def to_its_end(ending: Coroutine[Any, Any, None]) -> None:
    """It goes on where it is cancelled, which is heeded after it: what it ends is paid for."""
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def break_off(work: Work) -> None:
    """See how far a run came that is stopped, then end what it left running."""
    if not work.is_settled:
        with suppress(AzureError, TimeoutError):
            async with asyncio.timeout(LAST_LOOK_SECONDS):
                await look_last(work)
    try:
        await clean_up.fn(work.ticket, work.request.cleanup, is_finished=False)
    except AzureError as error:
        STAGES.error(
            "%s If the pool %s and the job %s were made, they end by themselves at %s.",
            explain(error).problem,
            work.ticket.pool_id,
            work.ticket.job_id,
            work.ticket.deadline.isoformat(timespec="seconds"),
        )


async def look_last(work: Work) -> None:
    """Both or neither: what succeeded without evidence would count as failed."""
    async with batch_client() as batch:
        batch_results = await list_results(batch, work.ticket.job_id)
        await work.roster.look(batch, work.ticket.pool_id, now=datetime.now(UTC))
    pending = work.plan.pending if work.plan else ()
    evidence = await collect_outputs.fn(
        pending, batch_results, ticket=work.ticket, request=work.request
    )
    work.batch_results, work.evidence = batch_results, evidence
