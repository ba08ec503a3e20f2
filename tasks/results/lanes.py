"""The nodes of a run on a time axis: what each node did when, and which batch tasks it ran.

All times are seconds since the start of the run. Slots are inferred: Batch reports the node of a
batch task and the times of its last try, but not its slot.
"""

import heapq
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal

from tasks.models import BatchResult, NodeKind, NodeLife
from tasks.naming import batch_task_id
from tasks.stage import StageName

Activity = Literal["boot", "start_task", "converting", "idle", "evicted", "unusable"]
RANKS: tuple[Activity, ...] = ("evicted", "unusable", "converting", "start_task", "boot", "idle")
UNPAID: tuple[Activity, ...] = ("evicted",)
SLACK_SECONDS = 0.05  # between the clocks of nodes, of Batch, and of this machine
POOL: StageName = "pool"
JOB: StageName = "job"
SUBMIT: StageName = "submit"
COMPLETION: StageName = "completion"
POOL_ENDS: tuple[StageName, ...] = ("release", "cleanup")  # the first of these ends the nodes


@dataclass(frozen=True, slots=True)
class StagePeriod:
    """The time of one stage."""

    name: str  # as its run in Prefect, such as "upload wave 1"
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which a node has one activity."""

    activity: Activity
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One batch task on its node, from the start to the end of its last try."""

    key: str
    attempt: int
    state: Literal["succeeded", "failed", "running"]
    node: str
    slot: int
    start: float
    end: float
    added: float  # when it was added to the job

    @property
    def batch_task(self) -> str:
        """The id of the batch task."""
        return batch_task_id(self.key, self.attempt)


@dataclass(frozen=True, slots=True)
class Lane:
    """One node, with its activities and its batch tasks."""

    node: str
    kind: NodeKind
    start: float
    end: float
    is_gone: bool  # it disappeared from a pool that still existed
    slots: int
    periods: tuple[Period, ...]
    bars: tuple[Bar, ...]

    @property
    def seconds(self) -> dict[Activity, float]:
        totals: dict[Activity, float] = defaultdict(float)
        for period in self.periods:
            totals[period.activity] += period.end - period.start
        return dict(totals)


@dataclass(frozen=True, slots=True)
class RunClock:
    """Converts times of day to seconds since the start of the run."""

    begin: datetime
    now: datetime

    @property
    def end(self) -> float:
        return (self.now - self.begin).total_seconds()

    def read(self, moment: datetime | None, *, otherwise: float | None = None) -> float:
        """Return the seconds since the start of the run, limited to the run.

        A moment that is not known is the end of the run, or `otherwise`.
        """
        if moment is None:
            return self.end if otherwise is None else otherwise
        return min(max(0.0, (moment - self.begin).total_seconds()), self.end)


def build_lane(
    node: NodeLife,
    batch_results: Sequence[BatchResult],
    *,
    slots: int,
    until: float,
    clock: RunClock,
) -> Lane:
    bars = place_bars(node.id, batch_results, slots=slots, until=until, clock=clock)
    start = clock.read(node.allocated_at)
    end = max(start, min(clock.read(node.gone_at), until))
    claims = [*claimed_periods(node, bars, end=end, clock=clock), Period("idle", start, end)]
    return Lane(
        node=node.id,
        kind=node.kind,
        start=start,
        end=end,
        is_gone=clock.read(node.gone_at) < until,
        slots=max([slots, *(bar.slot + 1 for bar in bars)]),
        periods=resolve_periods(claims, start=start, end=end),
        bars=bars,
    )


def place_bars(
    node: str, batch_results: Sequence[BatchResult], *, slots: int, until: float, clock: RunClock
) -> tuple[Bar, ...]:
    """Give each batch task the lowest slot that is free when it starts."""
    free = list(range(slots))
    busy: list[tuple[float, int]] = []
    bars = []
    for batch_result in sorted(batch_results, key=lambda result: clock.read(result.started_at)):
        start = clock.read(batch_result.started_at)
        end = max(start, clock.read(batch_result.ended_at, otherwise=until))
        while busy and (busy[0][0] <= start + SLACK_SECONDS or not free):
            heapq.heappush(free, heapq.heappop(busy)[1])
        slot = heapq.heappop(free)
        heapq.heappush(busy, (end, slot))
        added = clock.read(batch_result.added_at, otherwise=start)
        bars.append(
            Bar(
                batch_result.key,
                batch_result.attempt,
                batch_result.state,
                node=node,
                slot=slot,
                start=start,
                end=end,
                added=added,
            )
        )
    return tuple(bars)


def claimed_periods(
    node: NodeLife, bars: Sequence[Bar], *, end: float, clock: RunClock
) -> Iterator[Period]:
    """Yield what is known about the node's time. Where periods overlap, the higher rank counts."""
    yield from (Period("converting", bar.start, bar.end) for bar in bars)
    for span in node.start_tasks:
        done = clock.read(span.ended_at, otherwise=end)
        yield Period("start_task", clock.read(span.started_at), done)
    for outage in node.outages:
        back = clock.read(outage.ended_at, otherwise=end)
        activity: Activity = "evicted" if outage.name == "evicted" else "unusable"
        yield Period(activity, clock.read(outage.started_at), back)
    yield from boots(node, bars, end=end, clock=clock)


def boots(node: NodeLife, bars: Sequence[Bar], *, end: float, clock: RunClock) -> Iterator[Period]:
    """Yield a boot from each allocation to the first sign of work after it.

    Signs of work are a start task, a batch task, and the state ready.
    """
    allocated = [node.allocated_at, *(outage.ended_at for outage in node.outages)]
    signs = [clock.read(span.started_at) for span in node.start_tasks]
    signs += [bar.start for bar in bars]
    signs += [clock.read(node.ready_at)] if node.ready_at else []
    signs.sort()
    yield from unseen_restarts(node, bars, clock=clock)
    for moment in filter(None, allocated):
        begin = clock.read(moment)
        after = bisect_left(signs, begin)
        yield Period("boot", begin, signs[after] if after < len(signs) else end)


def unseen_restarts(node: NodeLife, bars: Sequence[Bar], *, clock: RunClock) -> Iterator[Period]:
    """Yield a boot for each new start task without an outage before it.

    The node rebooted, or was evicted and came back between two listings.
    """
    for earlier, later in pairwise(node.start_tasks):
        since = earlier.ended_at or earlier.started_at
        if any(o.ended_at and since <= o.ended_at <= later.started_at for o in node.outages):
            continue
        start = clock.read(later.started_at)
        ends = [clock.read(since), *(bar.end for bar in bars if bar.end <= start + SLACK_SECONDS)]
        yield Period("boot", min(start, max(ends)), start)


def resolve_periods(claims: Iterable[Period], *, start: float, end: float) -> tuple[Period, ...]:
    """Return periods without gaps or overlaps from start to end, by rank."""
    counts: Counter[Activity] = Counter()
    periods: list[Period] = []
    begins = start
    for moment, activity, change in sorted(edges(claims, start=start, end=end)):
        if moment > begins:
            leading = next(rank for rank in RANKS if counts[rank])
            if periods and periods[-1].activity == leading:
                begins = periods.pop().start
            periods.append(Period(leading, begins, moment))
            begins = moment
        counts[activity] += change
    return tuple(periods)


def edges(
    claims: Iterable[Period], *, start: float, end: float
) -> Iterator[tuple[float, Activity, int]]:
    """Yield the moments at which the number of claims of an activity changes, and by how much."""
    for claim in claims:
        begins, ends = max(start, claim.start), min(end, claim.end)
        if begins < ends:
            yield begins, claim.activity, 1
            yield ends, claim.activity, -1
