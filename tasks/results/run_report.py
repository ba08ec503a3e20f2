"""The report of a run: its model, how it is built from the ledger, and its JSON."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from tasks.media.addresses import is_blob
from tasks.models import Check, Diagnosis, FileResult, NodeKind, State
from tasks.pool import nodes_wanted
from tasks.results.cost import Estimate, estimate, share_cost
from tasks.results.lanes import JOB, POOL, Activity, Lane
from tasks.results.ledger import DONE, Ledger, file_results
from tasks.results.timeline import Record, Timeline, build_timeline
from tasks.slots import with_slots

# How the JSON of each report begins, also if a tool has formatted it again.
OPENING = re.compile(rb'\s*{\s*"run":\s*{\s*"id":\s*"[0-9a-f]{32}",\s*"presets":\s*\[')


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What the run would do, and whether the accounts are ready for it."""

    uploads: int  # files to upload
    upload_bytes: int
    conversions: int
    skipped: int
    pool: str | None  # id of the shared pool; None: the run would create its own
    vm_size: str
    spot_nodes: int
    dedicated_nodes: int
    slots_per_node: int
    estimate: Estimate
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What was requested, the names that the run used, and how it ended."""

    id: str  # 32 hex digits
    presets: tuple[str, ...]
    options: tuple[str, ...]  # of ffmpeg, in addition to those of the presets
    container: str
    prefix: str  # "": none
    download_to: str  # "": no download
    is_fetched: bool  # the outputs are in the download folder
    report: str  # the report file; "": none
    known_failures: Literal["fail", "warn"]  # what a failure of an earlier run does to this run
    job: str | None  # None: the run ended before it created one
    pool: str | None  # as above
    owns_pool: bool | None  # None: without a pool
    slots_per_node: int | None  # files that each node converts in parallel; None: without a pool
    picture: str | None  # name of the picture's blob; None: without a picture
    started_at: datetime
    ended_at: datetime
    diagnosis: Diagnosis | None  # why the run ended early; None: it did not
    dry_run: DryRun | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The totals of a run. A file counts once for each preset."""

    converted: int
    skipped: int
    failed: int
    known_failures: int  # those of `failed` that failed in an earlier run and were not tried
    not_started: int
    interrupted: int
    with_warnings: int  # of those that are converted
    files: int
    seconds: float  # duration of the run
    source_seconds: float  # length of all media; of outputs, where it was measured
    source_bytes: int  # size of the sources that are not skipped or refused, each once
    sent_bytes: int  # bytes uploaded
    output_bytes: int
    node_hours: Mapping[Activity, float]
    converting_share: float | None  # 0 to 1, of the time of nodes; None: without nodes
    slot_share: float | None  # 0 to 1, of the time of slots; None: without nodes
    cost: float | None  # in the currency of the price; None: without a price

    @property
    def headline(self) -> str:
        """The states that occur, with their counts."""
        counts = {state.replace("_", " "): getattr(self, state) for state in get_args(State)}
        counts["failed"] -= self.known_failures
        counts["failed in an earlier run"] = self.known_failures
        counts["with a warning"] = self.with_warnings
        return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


@dataclass(frozen=True, slots=True)
class NodeUse:
    """A node, and how it spent its time."""

    id: str
    kind: NodeKind
    started_at: datetime  # at the earliest the start of the run, even in a shared pool
    ended_at: datetime
    is_lost: bool  # it disappeared from a pool that still existed
    hours: Mapping[Activity, float]
    conversions: int


class Report:
    """The result of a run, as the flow `convert` returns it.

    Not a dataclass: Prefect visits each part of a dataclass that a flow returns, which takes time
    and memory for each file. It does not look into other objects.

    Attributes:
        run: What was requested, the names that the run used, its diagnosis, and its dry run.
        summary: Counts of files by state, seconds, bytes, node hours, and cost.
        files: One row for each source and preset, sorted by source, then in the order of presets.
        nodes: One row for each node of the run, with its hours by activity.
        timeline: Stages, nodes and batch tasks, in seconds since the start of the run. The JSON
            does not contain it; the picture shows it.
    """

    def __init__(
        self,
        *,
        run: RunInfo,
        summary: RunSummary,
        files: Sequence[FileResult],
        timeline: Timeline,
        nodes: Sequence[NodeUse] = (),
    ) -> None:
        self.run = run
        self.summary = summary
        self.files = files
        self.nodes = nodes
        self.timeline = timeline

    def __repr__(self) -> str:
        return f"<Report of run {self.run.id}: {self.headline or 'no files'}>"

    @property
    def is_success(self) -> bool:
        """Whether all files are converted, skipped, or failures that the run tolerates.

        For a dry run: whether no check failed.
        """
        if dry_run := self.run.dry_run:
            return all(check.state != "failed" for check in dry_run.checks)
        is_tolerant = self.run.known_failures == "warn"
        return all(file.state in DONE or (is_tolerant and file.known_since) for file in self.files)

    @property
    def headline(self) -> str:
        return self.summary.headline

    @property
    def message(self) -> str:
        """The headline, for the state of a run that succeeded."""
        if all(file.state == "skipped" or file.known_since for file in self.files):
            return f"nothing to do: {self.headline or 'no files'}"
        return self.headline

    def as_json(self) -> Iterator[str]:
        """Yield the JSON in pieces, with one line for each node and each file."""
        for mark, name, part in (("{", "run", self.run), (",", "summary", self.summary)):
            text = json.dumps(json_values(part), indent=2)
            yield f'{mark}\n  "{name}": ' + text.replace("\n", "\n  ")
        yield ',\n  "nodes": '
        yield from json_lines(self.nodes)
        yield ',\n  "files": '
        yield from json_lines(self.files)
        yield "\n}\n"


def is_report(path: Path) -> bool:
    """Return whether a file is the report of a run, which a later one may replace."""
    with path.open("rb") as file:
        return OPENING.match(file.read(500)) is not None


def json_values(part: RunInfo | RunSummary) -> dict[str, Any]:
    return {
        name: value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
        for name, value in asdict(part).items()
    }


def json_lines(rows: Iterable[NodeUse | FileResult]) -> Iterator[str]:
    mark = "["
    for row in rows:
        cells = {name: getattr(row, name) for name in row.__slots__}
        yield f"{mark}\n    {json.dumps(cells, default=format_moment)}"
        mark = ","
    yield "\n  ]" if mark == "," else "[]"


def format_moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def build_report(ledger: Ledger, *, now: datetime) -> Report:
    files = tuple(file_results(ledger))
    record = Record(spans=ledger.spans, nodes=ledger.nodes, batch_results=ledger.batch_results)
    slots = ledger.request.pool.slots_per_node
    timeline = build_timeline(record, ticket=ledger.ticket, slots=slots, now=now)
    price = ledger.request.limits.price_per_node_hour
    cost = round(timeline.paid_seconds / 3600 * price, 6) if price else None
    return Report(
        run=describe_run(ledger, now=now),
        summary=summarise(files, timeline, cost=cost),
        files=share_cost(files, cost=cost),
        nodes=tuple(node_use(lane, ledger.ticket.started_at) for lane in timeline.lanes),
        timeline=timeline,
    )


def node_use(lane: Lane, run_started_at: datetime) -> NodeUse:
    start, end = (run_started_at + timedelta(seconds=at) for at in (lane.start, lane.end))
    return NodeUse(
        id=lane.node,
        kind=lane.kind,
        started_at=start,
        ended_at=end,
        is_lost=lane.is_gone,
        hours=to_hours(lane.seconds),
        conversions=len(lane.bars),
    )


def to_hours(seconds: Mapping[Activity, float]) -> dict[Activity, float]:
    return {activity: round(value / 3600, 6) for activity, value in seconds.items()}


def describe_run(ledger: Ledger, *, now: datetime) -> RunInfo:
    ticket, request = ledger.ticket, ledger.request
    begun = {span.name for span in ledger.spans}
    pool_id = ticket.pool_id if POOL in begun else None
    return RunInfo(
        id=ticket.run_id,
        presets=tuple(request.output.presets),
        options=tuple(request.output.options),
        container=request.output.container,
        prefix=request.output.prefix,
        download_to=request.output.download_to,
        is_fetched=ledger.is_fetched,
        report=request.output.report,
        known_failures=request.run.known_failures,
        job=ticket.job_id if JOB in begun else None,
        pool=pool_id,
        owns_pool=ticket.owns_pool if pool_id else None,
        slots_per_node=request.pool.slots_per_node if pool_id else None,
        picture=picture_blob(ledger),
        started_at=ticket.started_at,
        ended_at=now,
        diagnosis=ledger.diagnosis,
        dry_run=predict_run(ledger) if request.run.dry_run else None,
    )


def picture_blob(ledger: Ledger) -> str | None:
    """Return the name of the picture's blob, or None if the run has nothing to convert."""
    request, ticket = ledger.request, ledger.ticket
    if request.run.dry_run or not ledger.plan.pending:
        return None
    prefix = request.output.prefix
    return picture_name(prefix=prefix, started_at=ticket.started_at, run_id=ticket.run_id)


def picture_name(*, prefix: str, started_at: datetime, run_id: str) -> str:
    """Return a name beside the outputs that no output has: those end in a preset's suffix."""
    folder = f"{prefix.rstrip('/')}/" if prefix else ""
    return f"{folder}reports/{started_at:%Y%m%dT%H%M%SZ}-{run_id}.html"


def predict_run(ledger: Ledger) -> DryRun:
    pending = ledger.plan.pending
    pool = with_slots(ledger.request.pool, pending)  # not decided yet if the run ended early
    spot, dedicated = nodes_wanted(pool, len(pending))
    uploads = {c.content: c.bytes_to_send for c in pending if not is_blob(c.source)}
    return DryRun(
        uploads=len(uploads),
        upload_bytes=sum(uploads.values()),
        conversions=len(pending),
        skipped=len(ledger.plan.done),
        pool=pool.id or None,
        vm_size=pool.vm_size,
        spot_nodes=spot,
        dedicated_nodes=dedicated,
        slots_per_node=pool.slots_per_node,
        estimate=estimate(
            pending,
            nodes=spot + dedicated,
            pool=pool,
            price_per_node_hour=ledger.request.limits.price_per_node_hour,
        ),
        checks=ledger.checks,
    )


def summarise(
    files: Sequence[FileResult], timeline: Timeline, *, cost: float | None = None
) -> RunSummary:
    states = Counter(file.state for file in files)
    return RunSummary(
        converted=states["converted"],
        skipped=states["skipped"],
        failed=states["failed"],
        known_failures=sum(file.known_since is not None for file in files),
        not_started=states["not_started"],
        interrupted=states["interrupted"],
        with_warnings=sum(bool(file.warnings) for file in files if file.state == "converted"),
        files=len(files),
        seconds=round(timeline.seconds, 3),
        source_seconds=round(sum(media_seconds(file) for file in files), 3),
        source_bytes=sum({file.path: file.source_bytes for file in files}.values()),
        sent_bytes=sum(file.sent_bytes for file in files),
        output_bytes=sum(file.output_bytes or 0 for file in files),
        node_hours=to_hours(timeline.node_seconds),
        converting_share=to_thousandths(timeline.converting_share),
        slot_share=to_thousandths(timeline.slot_share),
        cost=cost,
    )


def media_seconds(file: FileResult) -> float:
    """Return the length that was measured in the output, or else what the source declares."""
    return file.output_seconds or file.source_seconds or 0


def to_thousandths(share: float | None) -> float | None:
    return None if share is None else round(share, 3)
