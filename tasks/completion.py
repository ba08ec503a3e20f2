"""The watcher: it alone looks at the deadline, the job, the pool and its nodes."""

import asyncio
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import AzureError

from tasks.azure.api_errors import is_transient
from tasks.azure.batch_results import has_unfinished, list_results, results_a_page
from tasks.azure.clients import batch_client
from tasks.azure.nodes import Roster
from tasks.azure.snapshots import Snapshot, observe_counts, observe_job, observe_pool, survey
from tasks.cancellation import Cancellation
from tasks.models import BatchResult, Diagnosis, Ticket
from tasks.pool import shed_nodes
from tasks.results.artifacts import ProgressBar
from tasks.results.cost import paid_hours
from tasks.results.diagnosis import diagnose, diagnose_end, diagnose_wait
from tasks.results.listeners import publish
from tasks.results.progress import Progress, Tally, seconds_left
from tasks.stage import stage

QUICKEST_POLL_SECONDS = 0.25
SLOWEST_POLL_SECONDS = 15.0
SHORT_RUN_SECONDS = 120
LAST_SECONDS = 2
POLLS_A_SURVEY = 2.5  # in a minute of waiting, five requests for counts and four for the rest
STILL_SECONDS = 300  # that counts stand still, until it is asked whether they are right
OUTAGE_SECONDS = 300  # that Batch may leave unanswered: what converts goes on meanwhile
TAIL_BYTES = 2000
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completion:
    """How the watch ended. Without a diagnosis, all batch tasks came to their own end."""

    batch_results: tuple[BatchResult, ...]
    diagnosis: Diagnosis | None


# Without retries: the watcher has a patience of its own.
@stage("completion", retries=0)
async def watch_completion(
    ticket: Ticket,
    tally: Tally,
    roster: Roster,
    *,
    has_fallback: bool = False,
    max_node_hours: float = 0,
) -> Completion:
    """Watch until all that was submitted is completed, or cannot be any more."""
    snapshot = Snapshot(
        seconds_left=math.inf, has_fallback=has_fallback, max_node_hours=max_node_hours
    )
    async with batch_client() as batch:
        ending = await Watcher(batch, ticket, tally, roster, snapshot).watch()
        await roster.look(batch, ticket.pool_id, now=datetime.now(UTC))
    return ending


async def look_once(ticket: Ticket) -> Completion | None:
    """How the run ended, if it has: that may be why a wave could not go on."""
    left_seconds = (ticket.deadline - datetime.now(UTC)).total_seconds()
    async with batch_client() as batch:
        snapshot = await observe_counts(batch, ticket, Snapshot(seconds_left=left_seconds))
        snapshot = await observe_job(batch, ticket, await observe_pool(batch, ticket, snapshot))
        return await end(batch, ticket, snapshot)


class Watcher:
    """Looks again and again, and slows down; at the pool and its nodes more seldom than at counts.

    Requests that fail for a while end no run: what converts goes on without us.
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
        self._answered_seconds = 0.0
        self._moved_seconds = 0.0  # when the counts last changed
        self._told: set[str] = set()
        self._bar = ProgressBar()

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
                is_cancelled=await cancellation.is_wanted(now_seconds=elapsed_seconds),
            )
            if ending := await self._look():
                return ending
            self._tell()
            pause_seconds = poll_seconds(elapsed_seconds, left_seconds=self._left_seconds())
            await asyncio.sleep(pause_seconds)

    def _left_seconds(self) -> float:
        """Until all are done, by the pace so far; no less than how long nothing has changed."""
        still_seconds = self._snapshot.elapsed_seconds - self._moved_seconds
        left_seconds = to_progress(self._snapshot, self._tally).seconds_left
        return max(left_seconds, still_seconds) if left_seconds else math.inf

    async def _look(self) -> Completion | None:
        try:
            self._snapshot = await self._see()
            self._answered_seconds = self._snapshot.elapsed_seconds
            await self._show()
            return await self._settle() or await end(self._batch, self._ticket, self._snapshot)
        except AzureError as error:
            if not self._is_bearable(error):
                raise
            self._snapshot = replace(self._snapshot, is_answered=False)
            return None

    async def _show(self) -> None:
        progress = to_progress(self._snapshot, self._tally)
        publish(progress)
        await self._bar.show(progress, elapsed_seconds=self._snapshot.elapsed_seconds)

    def _is_bearable(self, error: AzureError) -> bool:
        unanswered_seconds = self._snapshot.elapsed_seconds - self._answered_seconds
        is_over = diagnose(self._snapshot) is not None
        return is_transient(error) and unanswered_seconds < OUTAGE_SECONDS and not is_over

    async def _see(self) -> Snapshot:
        elapsed_seconds = self._snapshot.elapsed_seconds
        snapshot = await observe_counts(
            self._batch, self._ticket, replace(self._snapshot, is_answered=True)
        )
        if snapshot.counts != self._snapshot.counts:
            self._moved_seconds = elapsed_seconds
        if is_survey_due(elapsed_seconds, surveyed_seconds=self._surveyed_seconds):
            self._surveyed_seconds = elapsed_seconds
            snapshot = await survey(self._batch, self._ticket, snapshot)
        if self._roster.is_due(elapsed_seconds=elapsed_seconds):
            self._roster.put_off(elapsed_seconds=elapsed_seconds)
            await self._roster.look(self._batch, self._ticket.pool_id, now=datetime.now(UTC))
        return await self._heed_limit(snapshot)

    async def _heed_limit(self, snapshot: Snapshot) -> Snapshot:
        """Once the hours are spent, let nothing new begin: no wave, no file, no node."""
        nodes, since = self._roster.nodes, self._ticket.started_at
        hours = paid_hours(nodes, since=since, now=datetime.now(UTC))
        snapshot = replace(snapshot, node_hours=hours)
        if snapshot.is_spent and not self._tally.is_stopped:
            await drain(self._batch, self._ticket)
            self._tally.is_stopped = True
            snapshot = await observe_counts(self._batch, self._ticket, snapshot)
        return snapshot

    async def _settle(self) -> Completion | None:
        """The end, once all is completed: the list decides, not the counts."""
        if not is_complete(self._snapshot, self._tally) and not await self._is_overlooked():
            return None
        a_page = results_a_page(self._snapshot.started)
        batch_results = await list_results(self._batch, self._ticket.job_id, a_page=a_page)
        if not is_settled(batch_results, self._tally):
            return None
        return Completion(batch_results, diagnose_end(self._snapshot, batch_results))

    async def _is_overlooked(self) -> bool:
        """Whether all is completed and the counts do not say so: they may miss a change for good.

        Batch checks them against the tasks themselves in jobs of up to 200,000 only.
        """
        elapsed_seconds = self._snapshot.elapsed_seconds
        if not self._tally.is_closed or elapsed_seconds - self._moved_seconds < STILL_SECONDS:
            return False
        self._moved_seconds = elapsed_seconds
        return not await has_unfinished(self._batch, self._ticket.job_id)

    def _tell(self) -> None:
        """Say once why it takes so long."""
        wait = diagnose_wait(self._snapshot)
        if wait and wait.code not in self._told:
            logger.warning("%s %s %s", wait.summary, wait.detail, wait.remedy)
            self._told.add(wait.code)


async def drain(batch: BatchClient, ticket: Ticket) -> None:
    """Let what converts be finished and nothing else begin; a node that is done leaves our pool."""
    waiting = models.BatchJobDisableOptions(disable_tasks=models.DisableBatchJobOption.WAIT)
    await batch.begin_disable_job(ticket.job_id, waiting)
    if ticket.owns_pool:
        await shed_nodes(batch, ticket.pool_id)


async def end(batch: BatchClient, ticket: Ticket, snapshot: Snapshot) -> Completion | None:
    """The end of a run that has nothing left to wait for."""
    if diagnosis := diagnose(snapshot):
        diagnosis = await with_words_of_nodes(batch, ticket, diagnosis)
        a_page = results_a_page(snapshot.started)
        batch_results = await list_results(batch, ticket.job_id, a_page=a_page)
        return Completion(batch_results, diagnosis)
    return None


def poll_seconds(elapsed_seconds: float, *, left_seconds: float = math.inf) -> float:
    """A tenth of the time waited so far: quick for a short run, cheap for a long one.

    Near the end it is half of what seems to be left: few more requests, and no end seen late. In
    the last seconds of a run of minutes, half of them would be a hundredth of the run.
    """
    if elapsed_seconds <= SHORT_RUN_SECONDS and left_seconds <= LAST_SECONDS:
        return QUICKEST_POLL_SECONDS
    pause_seconds = min(elapsed_seconds / 10, left_seconds / 2, SLOWEST_POLL_SECONDS)
    return max(QUICKEST_POLL_SECONDS, pause_seconds)


def is_survey_due(elapsed_seconds: float, *, surveyed_seconds: float) -> bool:
    pause_seconds = poll_seconds(elapsed_seconds) * POLLS_A_SURVEY
    return elapsed_seconds - surveyed_seconds >= pause_seconds


def is_complete(snapshot: Snapshot, tally: Tally) -> bool:
    return tally.is_closed and snapshot.completed >= tally.submitted


def is_settled(batch_results: Iterable[BatchResult], tally: Tally) -> bool:
    """Task counts can run ahead of the truth by seconds: the list decides."""
    return sum(batch_result.state != "running" for batch_result in batch_results) >= tally.submitted


def to_progress(snapshot: Snapshot, tally: Tally) -> Progress:
    # Files of a second attempt are handed in twice, and their first failure does not count.
    again = max(0, tally.submitted + tally.refused - tally.files)
    return Progress(
        files=tally.files,
        converted=snapshot.succeeded,
        failed=max(0, snapshot.failed + tally.refused - again),
        running=snapshot.running,
        nodes=snapshot.nodes,
        seconds_left=seconds_left(
            files=tally.files,
            finished=snapshot.completed + tally.refused - again,
            elapsed_seconds=snapshot.elapsed_seconds,
        ),
    )


async def with_words_of_nodes(
    batch: BatchClient, ticket: Ticket, diagnosis: Diagnosis
) -> Diagnosis:
    """A broken node's own last words, or Batch's on it, while it is still there."""
    state = {"StartTaskFailed": "starttaskfailed", "NodesUnusable": "unusable"}.get(diagnosis.code)
    if state is None:
        return diagnosis
    nodes = batch.list_nodes(
        ticket.pool_id, filter=f"state eq '{state}'", select=["id", "state", "errors"]
    )
    async for node in nodes:
        return replace(diagnosis, detail=await read_words(batch, ticket.pool_id, node))
    return diagnosis


async def read_words(batch: BatchClient, pool_id: str, node: models.BatchNode) -> str:
    if node.state == models.BatchNodeState.UNUSABLE:
        return " ".join(f"Node {node.id}: {error.message}." for error in node.errors or ())
    try:
        stream = await batch.download_node_file(pool_id, node.id, "startup/stderr.txt")
        text = b"".join([chunk async for chunk in stream])
    except AzureError:
        return f"What node {node.id} printed cannot be read any more."
    return f"Node {node.id} printed: {text[-TAIL_BYTES:].decode(errors='replace').strip()}"
