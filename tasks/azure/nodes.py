"""What became of the pool's nodes, pieced together from one cheap listing now and then."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import AzureError

from tasks.models import NodeKind, NodeLife, Span

SELECT = ["id", "state", "stateTransitionTime", "allocationTime", "isDedicated", "startTaskInfo"]
NODES_A_PAGE = 1000  # the most that Batch lists at once
QUICKEST_LOOK_SECONDS = 5.0
SLOWEST_LOOK_SECONDS = 60.0
READY = ("idle", "running")
OUTAGES = {"preempted": "evicted", "unusable": "unusable", "starttaskfailed": "unusable"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What one listing says of one node."""

    id: str
    kind: NodeKind
    state: str
    since: datetime
    allocated_at: datetime
    start_task: Span | None


class Roster:
    """The nodes seen so far, those that are gone among them."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeLife] = {}
        self._due_seconds = 0.0

    @property
    def nodes(self) -> tuple[NodeLife, ...]:
        return tuple(self._nodes.values())

    def is_due(self, *, elapsed_seconds: float) -> bool:
        return elapsed_seconds >= self._due_seconds

    def put_off(self, *, elapsed_seconds: float) -> None:
        """The later it is, the longer until the next look is due."""
        pause_seconds = max(QUICKEST_LOOK_SECONDS, elapsed_seconds / 2)
        self._due_seconds = elapsed_seconds + min(pause_seconds, SLOWEST_LOOK_SECONDS)

    async def look(self, batch: BatchClient, pool_id: str, *, now: datetime) -> None:
        """Note what the nodes do. A look that fails is no reason to fail a run."""
        listing = batch.list_nodes(pool_id, select=SELECT, max_results=NODES_A_PAGE)
        try:
            glimpses = [to_glimpse(node) async for node in listing]
        except AzureError as error:
            logger.debug("The nodes could not be listed: %s", error)
            return
        self._nodes = observe(self._nodes, glimpses, now=now)


def to_glimpse(node: models.BatchNode) -> Glimpse:
    info = node.start_task_info
    start_task = Span("start task", info.start_time, info.end_time) if info else None
    return Glimpse(
        id=node.id,
        kind="dedicated" if node.is_dedicated else "spot",
        state=str(getattr(node.state, "value", node.state)),
        since=node.state_transition_time,
        allocated_at=node.allocation_time,
        start_task=start_task,
    )


def observe(
    nodes: Mapping[str, NodeLife], glimpses: Iterable[Glimpse], *, now: datetime
) -> dict[str, NodeLife]:
    """The record after another look at all nodes that are there."""
    seen = {glimpse.id: glimpse for glimpse in glimpses}
    known = {name: node for name, node in nodes.items() if name not in seen}
    gone = {
        name: node if node.gone_at else replace(node, gone_at=now) for name, node in known.items()
    }
    return gone | {name: _seen(nodes.get(name), glimpse, now) for name, glimpse in seen.items()}


def _seen(node: NodeLife | None, glimpse: Glimpse, now: datetime) -> NodeLife:
    node = node or NodeLife(glimpse.id, glimpse.kind, glimpse.allocated_at, now)
    start_tasks = _with_start(node.start_tasks, glimpse.start_task)
    ready_at = glimpse.since if glimpse.state in READY else None
    return replace(
        node,
        seen_at=now,
        ready_at=node.ready_at or ready_at,
        gone_at=None,
        start_tasks=start_tasks,
        outages=_with_outage(_outages(node), glimpse),
    )


def _with_start(spans: tuple[Span, ...], span: Span | None) -> tuple[Span, ...]:
    if span is None:
        return spans
    return (*(s for s in spans if s.started_at != span.started_at), span)


def _outages(node: NodeLife) -> tuple[Span, ...]:
    """One that was gone and is back under its id was evicted."""
    gone = (Span("evicted", node.gone_at, None),) if node.gone_at else ()
    return (*node.outages, *gone)


def _with_outage(spans: tuple[Span, ...], glimpse: Glimpse) -> tuple[Span, ...]:
    *earlier, last = spans or (None,)
    name = OUTAGES.get(glimpse.state)
    if last and last.ended_at is None and last.name != name:
        spans = (*filter(None, earlier), replace(last, ended_at=_back_at(last, glimpse)))
        last = None
    if name and (last is None or last.ended_at):
        spans = (*spans, Span(name, glimpse.since, None))
    return spans


def _back_at(outage: Span, glimpse: Glimpse) -> datetime:
    """When it ended: its new start task had begun before the state that is seen."""
    start = glimpse.start_task.started_at if glimpse.start_task else glimpse.since
    is_new_start = outage.started_at < start < glimpse.since
    return max(start if is_new_start else glimpse.since, outage.started_at)
