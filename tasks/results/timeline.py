"""Where the time of a run went: its stages, its nodes, its critical path, and how busy nodes were.

All times are seconds since the start of the run.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tasks.models import BatchResult, NodeLife, Span, Ticket
from tasks.results.critical_path import Step, find_critical_path
from tasks.results.lanes import (
    POOL_ENDS,
    RANKS,
    UNPAID,
    Activity,
    Lane,
    RunClock,
    StagePeriod,
    build_lane,
)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The stages and nodes of a run, with its critical path."""

    seconds: float  # duration of the run
    stages: tuple[StagePeriod, ...] = ()
    lanes: tuple[Lane, ...] = ()
    path: tuple[Step, ...] = ()

    @property
    def node_seconds(self) -> dict[Activity, float]:
        """The seconds of all nodes together, by activity."""
        totals = dict.fromkeys(RANKS, 0.0)
        for lane in self.lanes:
            for activity, seconds in lane.seconds.items():
                totals[activity] += seconds
        return totals

    @property
    def paid_seconds(self) -> float:
        """The seconds of all nodes together that Azure bills."""
        return sum(n for activity, n in self.node_seconds.items() if activity not in UNPAID)

    @property
    def converting_share(self) -> float | None:
        """The share of the billed node time in which a node converted at least one file."""
        paid = self.paid_seconds
        return self.node_seconds["converting"] / paid if paid else None

    @property
    def slot_share(self) -> float | None:
        """The share of the billed slot time in which a slot converted a file.

        A node with two slots that converts one file at a time has a share of one half.
        """
        paid = sum(
            seconds * lane.slots
            for lane in self.lanes
            for activity, seconds in lane.seconds.items()
            if activity not in UNPAID
        )
        busy = sum(bar.end - bar.start for lane in self.lanes for bar in lane.bars)
        return min(1.0, busy / paid) if paid else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was observed during a run."""

    spans: Sequence[Span] = ()  # of its stages
    nodes: Sequence[NodeLife] = ()
    batch_results: Sequence[BatchResult] = ()


def build_timeline(record: Record, *, ticket: Ticket, slots: int, now: datetime) -> Timeline:
    clock = RunClock(ticket.started_at, now)
    stages = tuple(
        StagePeriod(span.name, clock.read(span.started_at), clock.read(span.ended_at))
        for span in record.spans
    )
    ends = (s.ended_at for s in record.spans if s.name in POOL_ENDS and not s.is_failed)
    until = min(map(clock.read, ends), default=clock.end)
    lanes = build_lanes(record, owns_pool=ticket.owns_pool, slots=slots, until=until, clock=clock)
    return Timeline(clock.end, stages, lanes, find_critical_path(stages, lanes))


def build_lanes(
    record: Record, *, owns_pool: bool, slots: int, until: float, clock: RunClock
) -> tuple[Lane, ...]:
    """Return a lane for each node of the run, in the order of allocation.

    In a shared pool, a node belongs to the run if it ran one of its batch tasks.
    """
    files = defaultdict(list)
    for batch_result in record.batch_results:
        if batch_result.node and batch_result.started_at:
            files[batch_result.node].append(batch_result)
    own = [node for node in record.nodes if owns_pool or node.id in files]
    return tuple(
        build_lane(node, files[node.id], slots=slots, until=until, clock=clock)
        for node in sorted(own, key=lambda node: (node.allocated_at, node.id))
    )
