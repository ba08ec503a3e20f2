"""The watcher, which alone polls the deadline, cancellation, the job, the pool and its nodes."""

import asyncio
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import AzureError

from tasks.azure.api_errors import is_transient
from tasks.azure.autoscale import NO_NODES
from tasks.azure.batch_results import has_unfinished, list_results, results_per_page
from tasks.azure.clients import batch_client
from tasks.azure.explanations import explanation, is_code
from tasks.azure.nodes import Roster
from tasks.azure.scaling import try_formula
from tasks.azure.snapshots import Snapshot, observe_counts, observe_job, observe_pool, survey
from tasks.azure.upload_logs import with_upload_logs
from tasks.cancellation import Cancellation
from tasks.models import BatchResult, Diagnosis, Ticket
from tasks.outages import is_too_long
from tasks.results.artifacts import ProgressArtifact
from tasks.results.cost import paid_hours
from tasks.results.diagnosis import diagnose, diagnose_end, diagnose_wait
from tasks.results.forecast import Forecast
from tasks.results.listeners import publish
from tasks.results.progress import Progress, Tally
from tasks.stage import stage

QUICKEST_POLL_SECONDS = 0.25
SLOWEST_POLL_SECONDS = 15.0
SHORT_RUN_SECONDS = 120
LAST_SECONDS = 2
POLLS_PER_SURVEY = 2.5  # in a minute of waiting: five requests for counts, four for the rest
STALL_SECONDS = 300  # without a change of the counts before the list is checked
TAIL_BYTES = 2000
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of a watch. Without a diagnosis, all batch tasks ended by themselves."""

    batch_results: tuple[BatchResult, ...]
    diagnosis: Diagnosis | None


# Without retries: the watcher itself tolerates outages.
@stage("completion", retries=0)
async def watch_completion(
    ticket: Ticket,
    tally: Tally,
    roster: Roster,
    *,
    has_fallback: bool = False,
    max_node_hours: float = 0,
) -> Completion:
    """Watch until all submitted batch tasks are completed or cannot be completed any more."""
    snapshot = Snapshot(
        seconds_left=math.inf, has_fallback=has_fallback, max_node_hours=max_node_hours
    )
    async with batch_client() as batch:
        completion = await Watcher(batch, ticket, tally, roster, snapshot).watch()
        await roster.look(batch, ticket.pool_id, now=datetime.now(UTC))
    return completion


async def find_completion(ticket: Ticket) -> Completion | None:
    """Return how the run has ended, if so. That may be why a wave failed."""
    left_seconds = (ticket.deadline - datetime.now(UTC)).total_seconds()
    async with batch_client() as batch:
        snapshot = await observe_counts(batch, ticket, Snapshot(seconds_left=left_seconds))
        snapshot = await observe_job(batch, ticket, await observe_pool(batch, ticket, snapshot))
        return await diagnose_completion(batch, ticket, snapshot)


class Watcher:
    """Polls Batch, more and more slowly, and the pool and its nodes less often than the counts.

    It tolerates failing requests for some minutes: the nodes continue to convert.
    """

    def __init__(
        self,
        batch: BatchClient,
        ticket: Ticket,
        tally: Tally,
        roster: Roster,
        snapshot: Snapshot,
    ) -> None:
        self._batch = batch
        self._ticket = ticket
        self._tally = tally
        self._roster = roster
        self._snapshot = snapshot
        self._surveyed_seconds = -math.inf
        self._answered_at = datetime.now(UTC)
        self._moved_seconds = 0.0  # when the counts last changed
        self._is_emptying = not ticket.owns_pool  # its formula removes all idle nodes
        self._warned_codes: set[str] = set()
        self._bar = ProgressArtifact()

    async def watch(self) -> Completion:
        started_at = datetime.now(UTC)
        cancellation = Cancellation()
        while True:
            now = datetime.now(UTC)
            elapsed_seconds = (now - started_at).total_seconds()
            self._snapshot = replace(
                self._snapshot,
                elapsed_seconds=elapsed_seconds,
                seconds_left=(self._ticket.deadline - now).total_seconds(),
                is_cancelled=await cancellation.is_requested(now_seconds=elapsed_seconds),
            )
            if completion := await self._poll():
                return completion
            self._warn_of_wait()
            pause_seconds = pause_before_poll(
                self._tally.forecast, elapsed_seconds=elapsed_seconds, now=time.monotonic()
            )
            await asyncio.sleep(pause_seconds)

    async def _poll(self) -> Completion | None:
        try:
            self._snapshot = await self._observe()
            await self._show_progress()
            completion = await self._completion() or await diagnose_completion(
                self._batch, self._ticket, self._snapshot
            )
        except AzureError as error:
            if not self._is_tolerable(error):
                raise
            self._snapshot = replace(self._snapshot, is_answered=False)
            return None
        self._answered_at = datetime.now(UTC)
        return completion

    async def _show_progress(self) -> None:
        progress = to_progress(self._snapshot, self._tally)
        publish(progress)
        await self._bar.show(progress, elapsed_seconds=self._snapshot.elapsed_seconds)

    def _is_tolerable(self, error: AzureError) -> bool:
        """Return whether to ask again, also after the deadline: only Batch knows how it ended."""
        if self._snapshot.is_cancelled or not is_transient(error):
            return False
        return not is_too_long(self._answered_at, now=datetime.now(UTC))

    async def _observe(self) -> Snapshot:
        elapsed_seconds = self._snapshot.elapsed_seconds
        snapshot = await observe_counts(
            self._batch, self._ticket, replace(self._snapshot, is_answered=True)
        )
        if snapshot.counts != self._snapshot.counts:
            self._moved_seconds = elapsed_seconds
        self._tally.forecast.observe(
            time.monotonic(), started=snapshot.started, ended=snapshot.completed
        )
        if is_survey_due(elapsed_seconds, surveyed_seconds=self._surveyed_seconds):
            self._surveyed_seconds = elapsed_seconds
            snapshot = await survey(self._batch, self._ticket, snapshot)
        if self._roster.is_due(elapsed_seconds=elapsed_seconds):
            self._roster.schedule_next_look(elapsed_seconds=elapsed_seconds)
            await self._roster.look(self._batch, self._ticket.pool_id, now=datetime.now(UTC))
        return await self._apply_limit(snapshot)

    async def _apply_limit(self, snapshot: Snapshot) -> Snapshot:
        """Start no new wave, file or node once the limit on node hours is reached."""
        nodes, since = self._roster.nodes, self._ticket.started_at
        hours = paid_hours(nodes, since=since, now=datetime.now(UTC))
        snapshot = replace(snapshot, node_hours=hours)
        if not snapshot.is_spent:
            return snapshot
        if not self._tally.is_stopped:
            await drain_job(self._batch, self._ticket.job_id)
            self._tally.is_stopped = True
            snapshot = await observe_counts(self._batch, self._ticket, snapshot)
        if not self._is_emptying:  # at a later poll if Batch refuses it for now
            self._is_emptying = await try_formula(self._batch, self._ticket.pool_id, NO_NODES)
        return snapshot

    async def _completion(self) -> Completion | None:
        """Return the end of the run, once the list of results confirms that all are completed."""
        if not is_complete(self._snapshot, self._tally) and not await self._is_miscounted():
            return None
        batch_results = await read_results(self._batch, self._ticket, self._snapshot)
        if not is_settled(batch_results, self._tally):
            return None
        batch_results = await with_upload_logs(self._batch, self._ticket.job_id, batch_results)
        return Completion(batch_results, diagnose_end(self._snapshot, batch_results))

    async def _is_miscounted(self) -> bool:
        """Return whether all are completed although the counts never say so.

        Batch corrects its counts only in jobs with up to 200,000 tasks.
        """
        elapsed_seconds = self._snapshot.elapsed_seconds
        if not self._tally.is_closed or elapsed_seconds - self._moved_seconds < STALL_SECONDS:
            return False
        self._moved_seconds = elapsed_seconds
        return not await has_unfinished(self._batch, self._ticket.job_id)

    def _warn_of_wait(self) -> None:
        """Log each reason for waiting once."""
        wait = diagnose_wait(self._snapshot)
        if wait and wait.code not in self._warned_codes:
            logger.warning("%s %s %s", wait.summary, wait.detail, wait.remedy)
            self._warned_codes.add(wait.code)


async def drain_job(batch: BatchClient, job_id: str) -> None:
    """Let running conversions end and start no others."""
    waiting = models.BatchJobDisableOptions(disable_tasks=models.DisableBatchJobOption.WAIT)
    await batch.begin_disable_job(job_id, waiting)


async def diagnose_completion(
    batch: BatchClient, ticket: Ticket, snapshot: Snapshot
) -> Completion | None:
    """Return the end of the run if there is nothing left to wait for."""
    if diagnosis := diagnose(snapshot):
        diagnosis = await with_node_errors(batch, ticket, diagnosis)
        batch_results = await read_results(batch, ticket, snapshot)
        batch_results = await with_upload_logs(batch, ticket.job_id, batch_results)
        return Completion(batch_results, diagnosis)
    return None


async def read_results(
    batch: BatchClient, ticket: Ticket, snapshot: Snapshot
) -> tuple[BatchResult, ...]:
    page_size = results_per_page(snapshot.started)
    return await list_results(batch, ticket.job_id, page_size=page_size)


def pause_before_poll(forecast: Forecast, *, elapsed_seconds: float, now: float) -> float:
    """Return the pause before the next poll.

    Before the first file starts, nodes may boot for long. From then on, early polls show the pace.
    """
    since, left_seconds = forecast.converting_since, forecast.seconds_left()
    converting_seconds = elapsed_seconds if since is None else now - since
    if not left_seconds:
        return poll_seconds(converting_seconds)
    # What is late may be late for as long again. In an outage, all is late.
    late_seconds = forecast.overdue_seconds() + now - forecast.observed
    return poll_seconds(converting_seconds, left_seconds=max(left_seconds, late_seconds))


def poll_seconds(elapsed_seconds: float, *, left_seconds: float = math.inf) -> float:
    """Return the pause before the next poll.

    It is a tenth of the elapsed time: short for a short run, cheap for a long run. Near the end it
    is half of the estimated time left, so that the end is seen early with few more requests. The
    last seconds of a run of minutes have the shortest pause: half of them would be a hundredth of
    the run.
    """
    if elapsed_seconds <= SHORT_RUN_SECONDS and left_seconds <= LAST_SECONDS:
        return QUICKEST_POLL_SECONDS
    pause_seconds = min(elapsed_seconds / 10, left_seconds / 2, SLOWEST_POLL_SECONDS)
    return max(QUICKEST_POLL_SECONDS, pause_seconds)


def is_survey_due(elapsed_seconds: float, *, surveyed_seconds: float) -> bool:
    pause_seconds = poll_seconds(elapsed_seconds) * POLLS_PER_SURVEY
    return elapsed_seconds - surveyed_seconds >= pause_seconds


def is_complete(snapshot: Snapshot, tally: Tally) -> bool:
    return tally.is_closed and snapshot.completed >= tally.submitted


def is_settled(batch_results: Iterable[BatchResult], tally: Tally) -> bool:
    """Return whether the list confirms the end: Batch's counts can be seconds ahead of it."""
    return sum(batch_result.state != "running" for batch_result in batch_results) >= tally.submitted


def to_progress(snapshot: Snapshot, tally: Tally) -> Progress:
    # Files of a second attempt are submitted twice, and their first failure does not count.
    again = max(0, tally.submitted + tally.refused - tally.files)
    return Progress(
        files=tally.files,
        converted=snapshot.succeeded,
        failed=max(0, snapshot.failed + tally.refused - again),
        running=snapshot.running,
        nodes=snapshot.nodes,
        seconds_left=tally.forecast.seconds_left(),
    )


async def with_node_errors(batch: BatchClient, ticket: Ticket, diagnosis: Diagnosis) -> Diagnosis:
    """Add what a broken node printed, or Batch's message about it, while the node exists."""
    state = {"StartTaskFailed": "starttaskfailed", "NodesUnusable": "unusable"}.get(diagnosis.code)
    if state is None:
        return diagnosis
    nodes = batch.list_nodes(
        ticket.pool_id,
        filter=f"state eq '{state}'",
        select=["id", "state", "errors", "startTaskInfo"],
    )
    async for node in nodes:
        return replace(diagnosis, detail=await read_node_error(batch, ticket.pool_id, node))
    return diagnosis


async def read_node_error(batch: BatchClient, pool_id: str, node: models.BatchNode) -> str:
    if node.state == models.BatchNodeState.UNUSABLE:
        return " ".join(f"Node {node.id}: {explanation(error)}." for error in node.errors or ())
    failure = node.start_task_info.failure_info if node.start_task_info else None
    if failure and not is_code(failure.code, "FailureExitCode"):  # it has printed nothing
        return f"Node {node.id}: {explanation(failure)}."
    try:
        stream = await batch.download_node_file(pool_id, node.id, "startup/stderr.txt")
        text = b"".join([chunk async for chunk in stream])
    except AzureError:
        return f"The output of node {node.id} can no longer be read."
    return f"Node {node.id} printed: {text[-TAIL_BYTES:].decode(errors='replace').strip()}"
