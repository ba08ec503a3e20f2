"""Runs that never were, with as many files and as much trouble as a picture is to show."""

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from records import NOW, a_conversion, a_request, a_source, a_ticket

from tasks.models import BatchResult, Conversion, Evidence, NodeLife, Plan, Refusal, Span
from tasks.naming import batch_task_id
from tasks.parameters import Pool
from tasks.report import Report, build_report
from tasks.results.ledger import Ledger
from tasks.results.picture import draw

HOSTILE = (
    "</script><script>document.title='pwned'</script>.mp4",
    "<img src=x onerror=\"document.title='pwned'\">.mp4",
    "quotes \"'` & {{style}} | pipes |.mp4",
    "line\u2028and\u2029paragraph\nand\ttab.mp4",
    "right\u202eto left 4pm.mp4",
    "\udcff broken bytes.mp4",
    "x" * 200 + ".mp4",
)


@dataclass
class Play:
    """Deals conversions to slots as they get free, from one seed."""

    slots: int
    nodes: list[NodeLife] = field(default_factory=list)
    batch_results: list[BatchResult] = field(default_factory=list)
    ends: float = 0.0

    def __post_init__(self) -> None:
        self.chance = random.Random(7)  # noqa: S311  no secret


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_life(number: int, chance: random.Random) -> NodeLife:
    """A node that boots in about a minute; the third is evicted in the fourth minute."""
    boots, ready = 25 + chance.random() * 30, 75 + chance.random() * 20
    starts = [Span("start task", at(boots), at(ready))]
    outages = []
    if number == 2:
        outages = [Span("evicted", at(240), at(300))]
        starts.append(Span("start task", at(320), at(345)))
    return NodeLife(
        id=f"tvmps_{number:032x}_{'d' if number == 0 else 'p'}",
        kind="dedicated" if number == 0 else "spot",
        allocated_at=at(3),
        seen_at=at(345),
        ready_at=at(ready),
        start_tasks=tuple(starts),
        outages=tuple(outages),
    )


def conversions(files: int) -> Iterator[Conversion]:
    names = [*HOSTILE, *(f"talks/day {n // 40 + 1}/talk {n:05}.mp4" for n in range(files))][:files]
    if files < len(HOSTILE):
        names = [f"{n:02} a talk.mp4" for n in range(files)]
    for number, name in enumerate(names):
        seconds = 300.0 + number % 97
        yield a_conversion(
            a_source(name), content=f"c{number}", output=f"out/{number}.mp3", seconds=seconds
        )


def a_big_report(*, files: int, nodes: int = 8, slots: int = 4) -> Report:
    """Most of it converted, here and there a failure, one attempt again, one node evicted."""
    play = Play(slots)
    play.nodes = [a_life(number, play.chance) for number in range(nodes)]
    pending = list(conversions(files))
    seconds_each = min(40.0, 1200 * nodes * slots / max(files, 1))
    free = [(lane.ready_at or NOW, lane.id) for lane in play.nodes for _ in range(slots)]
    for number, conversion in enumerate(pending):
        free.sort()
        moment, node = free.pop(0)
        start = max((moment - NOW).total_seconds(), 6 + number // 100 * 2)
        if node.endswith("2_p") and 200 < start < 345:
            start = 346
        end = start + seconds_each * (0.5 + play.chance.random())
        is_failure = number % 211 == 3
        play.batch_results.append(_outcome(conversion, node, start, end, is_failure=is_failure))
        play.ends = max(play.ends, end)
        free.append((at(end + 0.05), node))
    return build_report(_ledger(play, pending), now=at(play.ends + 9))


def _outcome(
    conversion: Conversion, node: str, start: float, end: float, *, is_failure: bool
) -> BatchResult:
    return BatchResult(
        conversion.key,
        1,
        "failed" if is_failure else "succeeded",
        exit_code=65 if is_failure else 0,
        code="FailureExitCode" if is_failure else "",
        node=node,
        seconds=end - start,
        added_at=at(min(start, 5)),
        started_at=at(start),
        ended_at=at(end),
    )


def _ledger(play: Play, pending: list[Conversion]) -> Ledger:
    done = {
        batch_result.key for batch_result in play.batch_results if batch_result.state == "succeeded"
    }
    sizes = {c.key: 7_200_000 for c in pending if c.key in done}
    tails = {
        batch_task_id(o.key, 1): "partial file\nrunner: 53.06 s of 120.07 s were converted"
        for o in play.batch_results
        if o.state == "failed"
    }
    refused = Refusal(a_source("notes.mp4"), "not a media file of a known format")
    waves = range(1, len(pending) // 100 + 2)
    uploads = [Span(f"upload wave {n}", at(4 + 2 * n - 2), at(4 + 2 * n - 0.4)) for n in waves]
    submits = [Span(f"submit wave {n}", at(4 + 2 * n - 0.4), at(4 + 2 * n)) for n in waves]
    ends = play.ends
    spans = [
        *(Span("plan", at(0), at(1.6)), Span("containers", at(1.6), at(1.9))),
        *(Span("lock", at(1.9), at(2.1)), Span("confirm", at(2.1), at(2.5))),
        *(Span("pool", at(2.5), at(3)), Span("job", at(3), at(4)), *uploads, *submits),
        *(Span("completion", at(4), at(ends + 2)), Span("outputs", at(ends + 2), at(ends + 4))),
        *(
            Span("cleanup", at(ends + 4), at(ends + 5)),
            Span("download", at(ends + 5), at(ends + 9)),
        ),
    ]
    return Ledger(
        plan=Plan(pending=tuple(pending), done=(), refused=(refused,)),
        request=a_request(pool=Pool(slots_per_node=play.slots)),
        ticket=a_ticket(now=NOW),
        batch_results=tuple(play.batch_results),
        evidence=Evidence(sizes, {}, tails),
        spans=tuple(spans),
        nodes=tuple(play.nodes),
    )


def drawn(report: Report) -> bytes:
    """The picture of it."""
    page = io.BytesIO()
    draw(report, page)
    return page.getvalue()
