"""Where a run's time went: what each node did when, and the chain of steps that took longest.

Pure accounting, in seconds since the run began. Slots are inferred: Batch tells on which node a
batch task ran and when its last try did, not in which slot.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise, zip_longest
from typing import Literal, TypeVar

from tasks.models import BatchResult, NodeKind, NodeLife, Span, Ticket

Activity = Literal["boot", "start_task", "converting", "idle", "evicted", "unusable"]
RANKS: tuple[Activity, ...] = ("evicted", "unusable", "converting", "start_task", "boot", "idle")
UNPAID = ("evicted",)
SLACK_SECONDS = 0.05  # clocks of nodes, Batch and ours
POOL, SUBMIT, COMPLETION = "pool", "submit", "completion"
ENDS = ("release", "cleanup")  # of the stages that end a pool, the first counts


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Period:
    activity: Activity
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One batch task on its node."""

    key: str
    attempt: int
    state: Literal["succeeded", "failed", "running"]
    node: str
    slot: int
    start: float
    end: float
    added: float


@dataclass(frozen=True, slots=True)
class Lane:
    """A node, with what it did and what it converted."""

    node: str
    kind: NodeKind
    start: float
    end: float
    is_gone: bool  # it vanished while its pool lived on
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
class Step:
    """A link of the longest path: a stage, a file, or what kept a node from files."""

    kind: Literal["stage", "file", "boot", "start_task", "evicted"]
    name: str  # of the stage, of the node, or the file's key
    start: float
    end: float


Link = Step | Bar  # of the longest path: a bar stands for the step that it will be
AnyLink = TypeVar("AnyLink", bound=Link)


@dataclass(frozen=True, slots=True)
class Timeline:
    seconds: float
    stages: tuple[Stage, ...] = ()
    lanes: tuple[Lane, ...] = ()
    path: tuple[Step, ...] = ()

    @property
    def node_seconds(self) -> dict[Activity, float]:
        """What all nodes did, together."""
        totals = dict.fromkeys(RANKS, 0.0)
        for lane in self.lanes:
            for activity, seconds in lane.seconds.items():
                totals[activity] += seconds
        return totals

    @property
    def paid_seconds(self) -> float:
        """Of all nodes, together."""
        return sum(n for activity, n in self.node_seconds.items() if activity not in UNPAID)

    @property
    def converting_share(self) -> float | None:
        """Of the time that nodes are paid for, how much one file at least was being converted."""
        paid = self.paid_seconds
        return self.node_seconds["converting"] / paid if paid else None

    @property
    def slot_share(self) -> float | None:
        """The same for slots: nodes that convert one file in two slots are half used."""
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
    """What was noted of a run while it went on."""

    spans: Sequence[Span] = ()  # of its stages
    nodes: Sequence[NodeLife] = ()
    batch_results: Sequence[BatchResult] = ()


def build_timeline(record: Record, *, ticket: Ticket, slots: int, now: datetime) -> Timeline:
    clock = _Clock(ticket.started_at, now)
    stages = tuple(_to_stage(span, clock) for span in record.spans)
    until = min((stage.end for stage in stages if stage.name in ENDS), default=clock.end)
    files = defaultdict(list)
    for batch_result in record.batch_results:
        if batch_result.node and batch_result.started_at:
            files[batch_result.node].append(batch_result)
    # Of a shared pool, only the nodes that worked for this run are its own affair.
    own = [node for node in record.nodes if ticket.owns_pool or node.id in files]
    lanes = tuple(
        build_lane(node, files[node.id], slots=slots, until=until, clock=clock)
        for node in sorted(own, key=lambda node: (node.allocated_at, node.id))
    )
    return Timeline(clock.end, stages, lanes, longest_path(stages, lanes))


@dataclass(frozen=True, slots=True)
class _Clock:
    begin: datetime
    now: datetime

    @property
    def end(self) -> float:
        return (self.now - self.begin).total_seconds()

    def read(self, moment: datetime | None, *, otherwise: float | None = None) -> float:
        """Seconds since the run began, within the run."""
        if moment is None:
            return self.end if otherwise is None else otherwise
        return min(max(0.0, (moment - self.begin).total_seconds()), self.end)


def _to_stage(span: Span, clock: _Clock) -> Stage:
    return Stage(span.name, clock.read(span.started_at), clock.read(span.ended_at))


def build_lane(
    node: NodeLife, batch_results: Sequence[BatchResult], *, slots: int, until: float, clock: _Clock
) -> Lane:
    bars = place_bars(node.id, batch_results, slots=slots, until=until, clock=clock)
    start = clock.read(node.allocated_at)
    end = max(start, min(clock.read(node.gone_at), until))
    claims = [*_claims(node, bars, end=end, clock=clock), Period("idle", start, end)]
    return Lane(
        node=node.id,
        kind=node.kind,
        start=start,
        end=end,
        is_gone=clock.read(node.gone_at) < until,
        slots=max([slots, *(bar.slot + 1 for bar in bars)]),
        periods=settle_periods(claims, start=start, end=end),
        bars=bars,
    )


def place_bars(
    node: str, batch_results: Sequence[BatchResult], *, slots: int, until: float, clock: _Clock
) -> tuple[Bar, ...]:
    """Give each batch task the lowest slot that is free when it starts."""
    free = list(range(slots))
    busy: list[tuple[float, int]] = []
    bars = []
    for batch_result in sorted(batch_results, key=lambda o: clock.read(o.started_at)):
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
                node,
                slot,
                start,
                end,
                added,
            )
        )
    return tuple(bars)


def _claims(node: NodeLife, bars: Sequence[Bar], *, end: float, clock: _Clock) -> Iterator[Period]:
    """What is known of the node's time; where two say different things, the higher rank holds."""
    yield from (Period("converting", bar.start, bar.end) for bar in bars)
    for span in node.start_tasks:
        done = clock.read(span.ended_at, otherwise=end)
        yield Period("start_task", clock.read(span.started_at), done)
    for outage in node.outages:
        back = clock.read(outage.ended_at, otherwise=end)
        activity: Activity = "evicted" if outage.name == "evicted" else "unusable"
        yield Period(activity, clock.read(outage.started_at), back)
    yield from _boots(node, bars, end=end, clock=clock)


def _boots(node: NodeLife, bars: Sequence[Bar], *, end: float, clock: _Clock) -> Iterator[Period]:
    """From each time it came until it did something: its start task, a file, or be ready."""
    came = [node.allocated_at, *(outage.ended_at for outage in node.outages)]
    did = [clock.read(span.started_at) for span in node.start_tasks]
    did += [bar.start for bar in bars]
    did += [clock.read(node.ready_at)] if node.ready_at else []
    did.sort()
    yield from _restarts(node, bars, clock=clock)
    for moment in filter(None, came):
        begin = clock.read(moment)
        after = bisect_left(did, begin)
        yield Period("boot", begin, did[after] if after < len(did) else end)


def _restarts(node: NodeLife, bars: Sequence[Bar], *, clock: _Clock) -> Iterator[Period]:
    """A new start task with no outage seen before it: it was gone between looks, or rebooted."""
    for earlier, later in pairwise(node.start_tasks):
        since = earlier.ended_at or earlier.started_at
        if any(o.ended_at and since <= o.ended_at <= later.started_at for o in node.outages):
            continue
        start = clock.read(later.started_at)
        ends = [clock.read(since), *(bar.end for bar in bars if bar.end <= start + SLACK_SECONDS)]
        yield Period("boot", min(start, max(ends)), start)


def settle_periods(claims: Iterable[Period], *, start: float, end: float) -> tuple[Period, ...]:
    """One activity at each moment from start to end, by rank."""
    counts: Counter[Activity] = Counter()
    periods: list[Period] = []
    begins = start
    for moment, activity, change in sorted(_edges(claims, start=start, end=end)):
        if moment > begins:
            leading = next(rank for rank in RANKS if counts[rank])
            if periods and periods[-1].activity == leading:
                begins = periods.pop().start
            periods.append(Period(leading, begins, moment))
            begins = moment
        counts[activity] += change
    return tuple(periods)


def _edges(
    claims: Iterable[Period], *, start: float, end: float
) -> Iterator[tuple[float, Activity, int]]:
    """When how many claims of an activity begin or end."""
    for claim in claims:
        begins, ends = max(start, claim.start), min(end, claim.end)
        if begins < ends:
            yield begins, claim.activity, 1
            yield ends, claim.activity, -1


def longest_path(stages: Sequence[Stage], lanes: Sequence[Lane]) -> tuple[Step, ...]:
    """The chain that ended last, from the run's end back: each step waited for the one before it.

    A file waited for the file before it in its slot, for its node, and for its wave's submission,
    and the last of the three counts; the watcher for the file that ended last; any other stage for
    the stage that ended last before it.
    """
    causes = _Causes(stages, lanes)
    chain: list[Link] = []
    link = causes.last
    while link:
        chain.append(link)
        earlier = [cause for cause in causes.of(link) if _is_before(cause[1], link)]
        link = max(earlier, key=lambda cause: cause[0])[1] if earlier else None
    chain.reverse()
    followers = zip_longest(chain, chain[1:])
    return tuple(_trimmed(link, follower) for link, follower in followers if link)


def _trimmed(link: Link, follower: Link | None) -> Step:
    """A step that still went on when the next began counts until then."""
    end = max(link.start, min(link.end, follower.start) if follower else link.end)
    if isinstance(link, Bar):
        return Step("file", f"{link.key}-{link.attempt}", link.start, end)
    return replace(link, end=end)


def _is_before(one: Link, other: Link) -> bool:
    return (one.start, one.end) < (other.start, other.end)


class _Causes:
    """What had to be over before a step could begin, with the moment from which it was."""

    def __init__(self, stages: Sequence[Stage], lanes: Sequence[Lane]) -> None:
        self._delays = {lane.node: _by_end(_delays(lane)) for lane in lanes}
        self._bars = {lane.node: lane.bars for lane in lanes}
        self._ended_bars = {lane.node: _by_end(lane.bars) for lane in lanes}
        self._files = _by_end(bar for lane in lanes for bar in lane.bars)
        steps = [self._stage_step(stage) for stage in stages]
        self._stages = _by_end(steps)
        self._pools = [step for step in self._stages if step.name == POOL]
        submissions = (step for step in steps if step.name.startswith(SUBMIT))
        self._submissions = sorted(submissions, key=lambda step: step.start)
        self.last: Link | None = max(steps, key=lambda step: step.end, default=None)

    def of(self, link: Link) -> Iterator[tuple[float, Link]]:
        if isinstance(link, Bar):
            yield from self._of_file(link)
        elif link.kind == "stage":
            if link.name == COMPLETION and (file := self._last_file(link.end)):
                yield file.end, file
            yield from _last_before(link, self._stages)
        else:
            for links in (self._delays[link.name], self._ended_bars[link.name], self._pools):
                yield from _last_before(link, links)

    def _stage_step(self, stage: Stage) -> Step:
        """Of the watcher's time, only what came after the last file."""
        file = self._last_file(stage.end) if stage.name == COMPLETION else None
        start = max(stage.start, file.end) if file else stage.start
        return Step("stage", stage.name, min(start, stage.end), stage.end)

    def _last_file(self, moment: float) -> Bar | None:
        place = _count_until(moment, self._files)
        return self._files[place - 1] if place else None

    def _of_file(self, bar: Bar) -> Iterator[tuple[float, Link]]:
        if before := self._before_in_slot(bar):
            yield before.end, before
        yield from _last_before(bar, self._delays[bar.node])
        place = bisect_right(self._submissions, bar.added, key=lambda step: step.start)
        if place:
            yield min(bar.added, bar.start), self._submissions[place - 1]

    def _before_in_slot(self, bar: Bar) -> Bar | None:
        bars = self._bars[bar.node]
        place = bisect_left(bars, bar.start, key=lambda other: other.start)
        while bars[place] is not bar:
            place += 1
        earlier = (bars[n] for n in range(place - 1, -1, -1))
        return next((other for other in earlier if other.slot == bar.slot), None)


def _by_end(links: Iterable[AnyLink]) -> list[AnyLink]:
    return sorted(links, key=lambda link: link.end)


def _count_until(moment: float, links: Sequence[Link]) -> int:
    """How many of them, by their ends, were over by then."""
    return bisect_right(links, moment + SLACK_SECONDS, key=lambda link: link.end)


def _last_before(link: Link, links: Sequence[Link]) -> Iterator[tuple[float, Link]]:
    """Which of them, by their ends, was over last when a step began."""
    over = (links[n] for n in range(_count_until(link.start, links) - 1, -1, -1))
    last = next((other for other in over if _is_before(other, link)), None)
    if last:
        yield last.end, last


def _delays(lane: Lane) -> Iterator[Step]:
    """What kept a node from converting."""
    for period in lane.periods:
        match period.activity:
            case "boot" | "start_task" | "evicted":
                yield Step(period.activity, lane.node, period.start, period.end)
