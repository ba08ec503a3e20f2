"""The history of the pool's nodes, from a cheap listing every few seconds or minutes."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import AzureError

from tasks.models import NodeKind, NodeLife, Span

SELECT = ["id", "state", "stateTransitionTime", "allocationTime", "isDedicated", "startTaskInfo"]
NODES_PER_PAGE = 1000  # the largest page of Batch
QUICKEST_LOOK_SECONDS = 5.0
SLOWEST_LOOK_SECONDS = 60.0
READY = ("idle", "running")
OUTAGES = {"preempted": "evicted", "unusable": "unusable", "starttaskfailed": "unusable"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListedNode:
    """One node in one listing."""

    id: str
    kind: NodeKind
    state: str
    since: datetime
    allocated_at: datetime
    start_task: Span | None


class Roster:
    """The nodes seen so far, including those that are gone."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeLife] = {}
        self._due_seconds = 0.0

    @property
    def nodes(self) -> tuple[NodeLife, ...]:
        return tuple(self._nodes.values())

    def is_due(self, *, elapsed_seconds: float) -> bool:
        return elapsed_seconds >= self._due_seconds

    def schedule_next_look(self, *, elapsed_seconds: float) -> None:
        """Set when the next look is due. Looks become rarer during a run."""
        pause_seconds = max(QUICKEST_LOOK_SECONDS, elapsed_seconds / 2)
        self._due_seconds = elapsed_seconds + min(pause_seconds, SLOWEST_LOOK_SECONDS)

    async def look(self, batch: BatchClient, pool_id: str, *, now: datetime) -> None:
        """List the nodes and record their states. A failed request is only logged."""
        listing = batch.list_nodes(pool_id, select=SELECT, max_results=NODES_PER_PAGE)
        try:
            listed = [to_listed_node(node) async for node in listing]
        except AzureError as error:
            logger.debug("The nodes could not be listed: %s", error)
            return
        self._nodes = observe(self._nodes, listed, now=now)


def to_listed_node(node: models.BatchNode) -> ListedNode:
    info = node.start_task_info
    start_task = Span("start task", info.start_time, info.end_time) if info else None
    return ListedNode(
        id=node.id,
        kind="dedicated" if node.is_dedicated else "spot",
        state=str(getattr(node.state, "value", node.state)),
        since=node.state_transition_time,
        allocated_at=node.allocation_time,
        start_task=start_task,
    )


def observe(
    nodes: Mapping[str, NodeLife], listed: Iterable[ListedNode], *, now: datetime
) -> dict[str, NodeLife]:
    """Return the records updated by a listing of all present nodes."""
    present = {found.id: found for found in listed}
    absent = {name: node for name, node in nodes.items() if name not in present}
    gone = {
        name: node if node.gone_at else replace(node, gone_at=now) for name, node in absent.items()
    }
    return gone | {name: _seen(nodes.get(name), found, now) for name, found in present.items()}


def _seen(node: NodeLife | None, found: ListedNode, now: datetime) -> NodeLife:
    node = node or NodeLife(found.id, found.kind, found.allocated_at, now)
    start_tasks = _with_start(node.start_tasks, found.start_task)
    ready_at = found.since if found.state in READY else None
    return replace(
        node,
        seen_at=now,
        ready_at=node.ready_at or ready_at,
        gone_at=None,
        start_tasks=start_tasks,
        outages=_with_outage(_outages(node), found),
    )


def _with_start(spans: tuple[Span, ...], span: Span | None) -> tuple[Span, ...]:
    if span is None:
        return spans
    return (*(s for s in spans if s.started_at != span.started_at), span)


def _outages(node: NodeLife) -> tuple[Span, ...]:
    """Return the outages. A node that was gone and came back under the same id was evicted."""
    gone = (Span("evicted", node.gone_at, None),) if node.gone_at else ()
    return (*node.outages, *gone)


def _with_outage(spans: tuple[Span, ...], found: ListedNode) -> tuple[Span, ...]:
    *earlier, last = spans or (None,)
    name = OUTAGES.get(found.state)
    if last and last.ended_at is None and last.name != name:
        spans = (*filter(None, earlier), replace(last, ended_at=_back_at(last, found)))
        last = None
    if name and (last is None or last.ended_at):
        spans = (*spans, Span(name, found.since, None))
    return spans


def _back_at(outage: Span, found: ListedNode) -> datetime:
    """Return when the outage ended: at the new start task, if it began before the seen state."""
    start = found.start_task.started_at if found.start_task else found.since
    is_new_start = outage.started_at < start < found.since
    return max(start if is_new_start else found.since, outage.started_at)
