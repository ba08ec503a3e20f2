"""The report of a run: in Python, as a file of JSON, and with a picture."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, get_args

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.blob import ContentSettings

from tasks.azure.clients import blob_service
from tasks.azure.error_wording import explain
from tasks.errors import ReportUnwrittenError
from tasks.files import local_path, move_aside, open_atomically
from tasks.media.addresses import is_blob
from tasks.models import (
    FileResult,
    NodeKind,
    State,
)
from tasks.naming import OWN
from tasks.parameters import Request
from tasks.pool import nodes_wanted
from tasks.results.cost import estimate, share_cost
from tasks.results.ledger import DONE, Ledger, settle
from tasks.results.picture import blob_name, draw, is_ours, path_beside
from tasks.results.timeline import Activity, Lane, Record, Timeline, build_timeline
from tasks.stage import stage

logger = logging.getLogger(__name__)
PAGE_BYTES = 1 << 20  # of a picture that stay in memory while it is drawn: of some 5,000 files
LOGGED_FILES = 1000  # beyond, the report file has them


@dataclass(frozen=True, slots=True)
class NodeUse:
    """A node, and what its time went into."""

    id: str
    kind: NodeKind
    started_at: datetime  # in a shared pool, when the run did
    ended_at: datetime
    is_lost: bool  # it went while its pool lived on
    hours: Mapping[Activity, float]
    conversions: int


class Report:
    """What became of a run. No dataclass: a flow returns it, and Prefect looks into each part."""

    def __init__(
        self,
        *,
        run: Mapping[str, Any],
        summary: Mapping[str, Any],
        files: Sequence[FileResult],
        timeline: Timeline,
        nodes: Sequence[NodeUse] = (),
    ) -> None:
        self.run = run
        self.summary = summary
        self.files = files
        self.nodes = nodes
        self.timeline = timeline

    @property
    def is_success(self) -> bool:
        if dry_run := self.run["dry_run"]:
            return all(check["state"] != "failed" for check in dry_run["checks"])
        return all(f.state in DONE for f in self.files)

    @property
    def headline(self) -> str:
        counts = ((state, self.summary[state]) for state in get_args(State))
        return ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in counts if n)

    def as_json(self) -> Iterator[str]:
        """Piece by piece, with a line for each node and each file."""
        for mark, name, part in (("{", "run", self.run), (",", "summary", self.summary)):
            yield f'{mark}\n  "{name}": ' + json.dumps(part, indent=2).replace("\n", "\n  ")
        yield ',\n  "nodes": '
        yield from _as_lines(self.nodes)
        yield ',\n  "files": '
        yield from _as_lines(self.files)
        yield "\n}\n"


def _as_lines(rows: Iterable[NodeUse | FileResult]) -> Iterator[str]:
    mark = "["
    for row in rows:
        cells = {name: getattr(row, name) for name in row.__slots__}
        yield f"{mark}\n    {json.dumps(cells, default=moment)}"
        mark = ","
    yield "\n  ]" if mark == "," else "[]"


def moment(found: datetime) -> str:
    return found.isoformat(timespec="milliseconds")


@stage("report")
async def make_report(ledger: Ledger) -> Report:
    """Settle every conversion's state, store the picture, and write the report where asked for.

    Raises:
        ReportUnwrittenError: it cannot be written; the error bears it.
    """
    report = build_report(ledger, now=datetime.now(UTC))
    await store_picture(report, ledger)
    for file in report.files[:LOGGED_FILES]:
        if file.state not in DONE and not ledger.request.run.dry_run:
            logger.warning("%s: %s: %s", file.source, file.state.replace("_", " "), file.reason)
    write_files(report, ledger.request)
    return report


def write_report(ledger: Ledger) -> Report:
    """The report; where a file is asked for, it is there, with its picture beside it.

    Raises:
        ReportUnwrittenError: as above.
    """
    report = build_report(ledger, now=datetime.now(UTC))
    write_files(report, ledger.request)
    return report


def write_files(report: Report, request: Request) -> None:
    if not request.output.report or request.run.dry_run:
        return
    path = local_path(request.output.report)
    try:
        with open_atomically(path) as file:
            for piece in report.as_json():
                file.write(piece.encode())
        write_picture(report, path_beside(path))
    except OSError as error:
        raise ReportUnwrittenError(
            f"The report {path} cannot be written: {error.strerror}.",
            "Make room or choose another file and run again: what is converted stays.",
            report,
        ) from error


def write_picture(report: Report, path: Path) -> None:
    """Nobody named this file: what has its name and is no picture of ours is kept."""
    with open_atomically(path) as file:
        draw(report, file)
        if path.exists() and not is_ours(path):
            move_aside(path)


async def store_picture(report: Report, ledger: Ledger) -> None:
    """Beside the outputs, where this run had something to convert. It is no reason to fail."""
    if not (name := report.run["picture"]):
        return
    settings = ContentSettings(content_type="text/html; charset=utf-8")
    metadata = OWN | {"run": ledger.ticket.run_id}
    try:
        with SpooledTemporaryFile(max_size=PAGE_BYTES) as page:
            draw(report, page)
            page.seek(0)
            async with blob_service() as service:
                blob = service.get_blob_client(ledger.request.output.container, name)
                await blob.upload_blob(
                    page, overwrite=False, metadata=metadata, content_settings=settings
                )
        logger.info("The picture of this run: %s", name)
    except ResourceExistsError:  # an earlier try of ours got through
        pass
    except AzureError as error:
        logger.warning("The picture could not be stored. %s", explain(error).problem)
    except OSError as error:
        logger.warning("The picture could not be stored: %s", error.strerror)


def build_report(ledger: Ledger, *, now: datetime) -> Report:
    files = tuple(settle(ledger))
    record = Record(spans=ledger.spans, nodes=ledger.nodes, batch_results=ledger.batch_results)
    slots = ledger.request.pool.slots_per_node
    timeline = build_timeline(record, ticket=ledger.ticket, slots=slots, now=now)
    price = ledger.request.limits.price_per_node_hour
    cost = round(timeline.paid_seconds / 3600 * price, 6) if price else None
    return Report(
        run=describe_run(ledger, now=now),
        summary=summarise(files, timeline) | {"cost": cost},
        files=share_cost(files, cost=cost),
        nodes=tuple(account_for(lane, ledger.ticket.started_at) for lane in timeline.lanes),
        timeline=timeline,
    )


def account_for(lane: Lane, began_at: datetime) -> NodeUse:
    start, end = (began_at + timedelta(seconds=seconds) for seconds in (lane.start, lane.end))
    return NodeUse(
        id=lane.node,
        kind=lane.kind,
        started_at=start,
        ended_at=end,
        is_lost=lane.is_gone,
        hours=in_hours(lane.seconds),
        conversions=len(lane.bars),
    )


def in_hours(seconds: Mapping[Activity, float]) -> dict[Activity, float]:
    return {activity: round(value / 3600, 6) for activity, value in seconds.items()}


def describe_run(ledger: Ledger, *, now: datetime) -> dict[str, Any]:
    ticket, request = ledger.ticket, ledger.request
    begun = {span.name for span in ledger.spans}
    pool_id = ticket.pool_id if "pool" in begun else None
    return {
        "id": ticket.run_id,
        "presets": request.output.presets,
        "options": request.output.options,
        "container": request.output.container,
        "prefix": request.output.prefix,
        "download_to": request.output.download_to,
        "is_fetched": ledger.is_fetched,
        "report": request.output.report,
        "job": ticket.job_id if "job" in begun else None,
        "pool": pool_id,
        "owns_pool": ticket.owns_pool if pool_id else None,
        "picture": picture_blob(ledger),
        "started_at": ticket.started_at.isoformat(timespec="seconds"),
        "ended_at": now.isoformat(timespec="seconds"),
        "diagnosis": asdict(ledger.diagnosis) if ledger.diagnosis else None,
        "dry_run": foresee(ledger) if request.run.dry_run else None,
    }


def picture_blob(ledger: Ledger) -> str | None:
    """The picture's name in the output container; None where there is nothing to show."""
    request, ticket = ledger.request, ledger.ticket
    if request.run.dry_run or not ledger.plan.pending:
        return None
    prefix = request.output.prefix
    return blob_name(prefix=prefix, started_at=ticket.started_at, run_id=ticket.run_id)


def foresee(ledger: Ledger) -> dict[str, Any]:
    """What the run would have done."""
    pool, pending = ledger.request.pool, ledger.plan.pending
    spot, dedicated = nodes_wanted(pool, len(pending))
    uploads = {c.content: c.source.size_bytes for c in pending if not is_blob(c.source)}
    return {
        "uploads": len(uploads),
        "upload_bytes": sum(uploads.values()),
        "conversions": len(pending),
        "skipped": len(ledger.plan.done),
        "pool": pool.id or None,
        "vm_size": pool.vm_size,
        "spot_nodes": spot,
        "dedicated_nodes": dedicated,
        "slots_per_node": pool.slots_per_node,
        "estimate": asdict(
            estimate(
                pending,
                nodes=spot + dedicated,
                slots=pool.slots_per_node,
                price_per_node_hour=ledger.request.limits.price_per_node_hour,
            )
        ),
        "checks": [asdict(check) for check in ledger.checks],
    }


def summarise(files: Iterable[FileResult], timeline: Timeline) -> dict[str, Any]:
    files = list(files)
    states = Counter(file.state for file in files)
    return {
        **{state: states[state] for state in get_args(State)},
        "files": len(files),
        "seconds": round(timeline.seconds, 3),
        "source_seconds": round(sum(f.source_seconds or 0 for f in files), 3),
        "output_bytes": sum(f.output_bytes or 0 for f in files),
        "node_hours": in_hours(timeline.node_seconds),
        "converting_share": in_thousandths(timeline.converting_share),
        "slot_share": in_thousandths(timeline.slot_share),
    }


def in_thousandths(share: float | None) -> float | None:
    return None if share is None else round(share, 3)
