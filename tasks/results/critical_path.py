"""The critical path of a run: the chain of steps that determined how long the run took."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal, TypeVar

from tasks.results.lanes import COMPLETION, POOL, SLACK_SECONDS, SUBMIT, Bar, Lane, StagePeriod


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the critical path: a stage, a file, or what kept a node from converting."""

    kind: Literal["stage", "file", "boot", "start_task", "evicted"]
    name: str  # of the stage, id of the node, or id of the file's batch task
    start: float  # seconds since the start of the run
    end: float


Link = Step | Bar  # of the path while it is searched; a bar becomes a step at the end
AnyLink = TypeVar("AnyLink", bound=Link)


def find_critical_path(stages: Sequence[StagePeriod], lanes: Sequence[Lane]) -> tuple[Step, ...]:
    """Return the steps in order, found backwards from the end of the run.

    Each step waited for the step before it:

    - A file waits for the file before it in its slot, for its node, and for the submission of its
      wave. The last of the three counts.
    - `completion` waits for the last file.
    - Any other stage waits for the stage that ended last before it.
    """
    predecessors = Predecessors(stages, lanes)
    chain: list[Link] = []
    link = predecessors.last
    while link:
        chain.append(link)
        earlier = [found for found in predecessors.before(link) if is_before(found[1], link)]
        link = max(earlier, key=lambda found: found[0])[1] if earlier else None
    chain.reverse()
    followers = zip_longest(chain, chain[1:])
    return tuple(to_step(link, follower) for link, follower in followers if link)


def to_step(link: Link, follower: Link | None) -> Step:
    """Return the step of a link. It ends when the next one begins, at the latest."""
    end = max(link.start, min(link.end, follower.start) if follower else link.end)
    if isinstance(link, Bar):
        return Step("file", link.batch_task, link.start, end)
    return replace(link, end=end)


def is_before(one: Link, other: Link) -> bool:
    return (one.start, one.end) < (other.start, other.end)


class Predecessors:
    """The steps that may have delayed another step, each with the moment at which it ended."""

    def __init__(self, stages: Sequence[StagePeriod], lanes: Sequence[Lane]) -> None:
        self._delays = {lane.node: by_end(delays(lane)) for lane in lanes}
        self._bars = {lane.node: lane.bars for lane in lanes}
        self._ended_bars = {lane.node: by_end(lane.bars) for lane in lanes}
        self._files = by_end(bar for lane in lanes for bar in lane.bars)
        steps = [self._stage_step(stage) for stage in stages]
        self._stages = by_end(steps)
        self._pools = [step for step in self._stages if step.name == POOL]
        submissions = (step for step in steps if step.name.startswith(SUBMIT))
        self._submissions = sorted(submissions, key=lambda step: step.start)
        self.last: Link | None = max(steps, key=lambda step: step.end, default=None)

    def before(self, link: Link) -> Iterator[tuple[float, Link]]:
        if isinstance(link, Bar):
            yield from self._of_file(link)
        elif link.kind == "stage":
            if link.name == COMPLETION and (file := self._last_file(link.end)):
                yield file.end, file
            yield from last_ended(link, self._stages)
        else:
            for links in (self._delays[link.name], self._ended_bars[link.name], self._pools):
                yield from last_ended(link, links)

    def _stage_step(self, stage: StagePeriod) -> Step:
        """Return the step of a stage. That of `completion` begins after the last file."""
        file = self._last_file(stage.end) if stage.name == COMPLETION else None
        start = max(stage.start, file.end) if file else stage.start
        return Step("stage", stage.name, min(start, stage.end), stage.end)

    def _last_file(self, moment: float) -> Bar | None:
        place = count_ended(moment, self._files)
        return self._files[place - 1] if place else None

    def _of_file(self, bar: Bar) -> Iterator[tuple[float, Link]]:
        if before := self._before_in_slot(bar):
            yield before.end, before
        yield from last_ended(bar, self._delays[bar.node])
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


def by_end(links: Iterable[AnyLink]) -> list[AnyLink]:
    return sorted(links, key=lambda link: link.end)


def count_ended(moment: float, links: Sequence[Link]) -> int:
    """Return how many links had ended by a moment. They are sorted by their ends."""
    return bisect_right(links, moment + SLACK_SECONDS, key=lambda link: link.end)


def last_ended(link: Link, links: Sequence[Link]) -> Iterator[tuple[float, Link]]:
    """Yield the link that ended last before another began, if there is one."""
    ended = (links[n] for n in range(count_ended(link.start, links) - 1, -1, -1))
    last = next((other for other in ended if is_before(other, link)), None)
    if last:
        yield last.end, last


def delays(lane: Lane) -> Iterator[Step]:
    """Yield what kept a node from converting."""
    for period in lane.periods:
        match period.activity:
            case "boot" | "start_task" | "evicted":
                yield Step(period.activity, lane.node, period.start, period.end)
