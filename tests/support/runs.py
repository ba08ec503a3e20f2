"""Simulated runs: many files, failures, an eviction and hostile names, for reports and pictures."""

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from records import (
    NOW,
    a_conversion,
    a_ledger,
    a_node,
    a_plan,
    a_request,
    a_source,
    a_span,
    a_task_on_node,
    a_ticket,
    at,
    proof_of,
)

from tasks.media.verification import Verified
from tasks.models import (
    BatchResult,
    Conversion,
    Evidence,
    KnownFailure,
    NodeLife,
    Plan,
    Refusal,
    Span,
)
from tasks.naming import batch_task_id
from tasks.parameters import Pool
from tasks.results.ledger import Ledger
from tasks.results.picture import draw
from tasks.results.run_report import Report, build_report

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
class SimulatedRun:
    """What a simulated run consists of. Its random numbers come from one seed."""

    slots: int
    nodes: list[NodeLife] = field(default_factory=list)
    batch_results: list[BatchResult] = field(default_factory=list)
    end: float = 0.0  # of the last batch task

    def __post_init__(self) -> None:
        self.random = random.Random(7)  # noqa: S311  not a secret


def a_node_life(number: int, chance: random.Random) -> NodeLife:
    """Return a node that boots in about a minute. The third is evicted in the fifth minute."""
    booted, ready = 25 + chance.random() * 30, 75 + chance.random() * 20
    starts = [Span("start task", at(booted), at(ready))]
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
    """Report a run with a few failures and one eviction. Each file takes the first free slot."""
    run = SimulatedRun(slots)
    run.nodes = [a_node_life(number, run.random) for number in range(nodes)]
    pending = list(conversions(files))
    seconds_each = min(40.0, 1200 * nodes * slots / max(files, 1))
    free = [(lane.ready_at or NOW, lane.id) for lane in run.nodes for _ in range(slots)]
    for number, conversion in enumerate(pending):
        free.sort()
        moment, node = free.pop(0)
        start = max((moment - NOW).total_seconds(), 6 + number // 100 * 2)
        if node.endswith("2_p") and 200 < start < 345:
            start = 346
        end = start + seconds_each * (0.5 + run.random.random())
        is_failure = number % 211 == 3
        run.batch_results.append(_batch_result(conversion, node, start, end, is_failure=is_failure))
        run.end = max(run.end, end)
        free.append((at(end + 0.05), node))
    return build_report(_ledger(run, pending), now=at(run.end + 9))


def _batch_result(
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


def _ledger(run: SimulatedRun, pending: list[Conversion]) -> Ledger:
    done = {result.key for result in run.batch_results if result.state == "succeeded"}
    sizes = {c.key: 7_200_000 for c in pending if c.key in done}
    tails = {
        batch_task_id(result.key, 1): "partial file\nrunner: 53.06 s of 120.07 s were converted"
        for result in run.batch_results
        if result.state == "failed"
    }
    refused = Refusal(a_source("notes.mp4"), "not a media file of a known format")
    waves = range(1, len(pending) // 100 + 2)
    uploads = [Span(f"upload wave {n}", at(4 + 2 * n - 2), at(4 + 2 * n - 0.4)) for n in waves]
    submits = [Span(f"submit wave {n}", at(4 + 2 * n - 0.4), at(4 + 2 * n)) for n in waves]
    end = run.end
    spans = [
        *(Span("plan", at(0), at(1.6)), Span("containers", at(1.6), at(1.9))),
        *(Span("lock", at(1.9), at(2.1)), Span("confirm", at(2.1), at(2.5))),
        *(Span("pool", at(2.5), at(3)), Span("job", at(3), at(4)), *uploads, *submits),
        *(Span("completion", at(4), at(end + 2)), Span("outputs", at(end + 2), at(end + 4))),
        *(
            Span("cleanup", at(end + 4), at(end + 5)),
            Span("download", at(end + 5), at(end + 9)),
        ),
    ]
    return Ledger(
        plan=Plan(pending=tuple(pending), done=(), refused=(refused,)),
        request=a_request(pool=Pool(slots_per_node=run.slots)),
        ticket=a_ticket(now=NOW),
        batch_results=tuple(run.batch_results),
        evidence=Evidence(sizes, {}, tails),
        spans=tuple(spans),
        nodes=tuple(run.nodes),
    )


def picture_of(report: Report) -> bytes:
    """Return the picture of a run."""
    page = io.BytesIO()
    draw(report, page)
    return page.getvalue()


def a_mixed_report() -> Report:
    """Report a run on one node, with a file in each state, and one of each remark."""
    names = ("whole", "copied", "gap", "broken", "replaced", "stopped", "running", "waiting")
    files = {name: a_conversion(a_source(f"{name}.mp4"), content=name) for name in names}
    done, known = (a_conversion(a_source(f"{name}.mp4"), content=name) for name in ("old", "bad"))
    ended = ("succeeded", "succeeded", "succeeded", "failed", "succeeded", "failed", "running")
    results = [
        a_task_on_node(files[name].key, 50 + 9 * place, 60 + 9 * place, state=state)
        for place, (name, state) in enumerate(zip(names, ended, strict=False))
    ]
    results[5] = replace(results[5], code="TaskEnded")
    results[6] = replace(results[6], ended_at=None)
    proof = proof_of(*(files[name] for name in ("whole", "copied", "gap")))
    proof.verified[files["copied"].key] = Verified(3.4, is_copied=True)
    proof.verified[files["gap"].key] = Verified(3.4, 1.0, warnings=("The source has no sound.",))
    problems = {files["replaced"].key: "the source was replaced during the run"}
    failure = KnownFailure(known, "it is damaged", failed_at=NOW)
    ledger = a_ledger(
        plan=a_plan(*files.values(), done=(done,), known_failures=(failure,)),
        batch_results=tuple(results),
        evidence=replace(proof, source_problems=problems),
        nodes=(a_node(),),
        spans=(a_span("plan", 0, 1), a_span("pool", 1, 2), a_span("completion", 2, 120)),
    )
    return build_report(ledger, now=at(125))
