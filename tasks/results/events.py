"""The events by which automations in Prefect learn what became of a run, one for each run.

Not one for each file: Prefect writes every event into its database and holds every automation
against it, and 10,000 of them at once would say no more than the report does.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.events import emit_event

from tasks.errors import ConvertError
from tasks.leftovers import Leftover
from tasks.media.addresses import AZURE
from tasks.parameters import Output
from tasks.report import Report
from tasks.results.ledger import DONE

CONVERTED = "batch-convert.run.converted"
FAILED = "batch-convert.run.failed"
SWEPT = "batch-convert.swept"
NAMES = 20  # that an event holds of files or leftovers


def announce_report(report: Report) -> None:
    """Say that a run came to its end: every file converted or skipped, or some not."""
    if report.run["dry_run"] is None:
        event = CONVERTED if report.is_success else FAILED
        announce(event, _place(report.run["container"], report.run["prefix"]), describe(report))


def describe(report: Report) -> dict[str, Any]:
    missing = dict.fromkeys(file.source for file in report.files if file.state not in DONE)
    diagnosis = report.run["diagnosis"]
    return {
        "headline": report.headline,
        "summary": dict(report.summary),
        "diagnosis": diagnosis["code"] if diagnosis else None,
        "files": list(missing)[:NAMES],
    }


def announce_error(error: Exception, output: Output) -> None:
    """Say that a run ended by an error."""
    # What others' errors say may hold an address with a token.
    headline = str(error) if isinstance(error, ConvertError) else type(error).__name__
    announce(
        FAILED,
        _place(output.container, output.prefix),
        {"headline": headline, "summary": {}, "diagnosis": None, "files": []},
    )


def announce_sweep(deleted: Sequence[Leftover], container: str) -> None:
    """Say what a sweep deleted, where it deleted something."""
    if deleted:
        count = Counter(leftover.kind for leftover in deleted)
        headline = ", ".join(f"{kind}: {n}" for kind, n in sorted(count.items()))
        names = [f"{leftover.kind} {leftover.name}" for leftover in deleted[:NAMES]]
        payload = {"headline": f"Deleted {headline}", "summary": dict(count), "leftovers": names}
        announce(SWEPT, _place(container, ""), payload)


def announce(event: str, place: str, payload: Mapping[str, Any]) -> None:
    """Emit an event about a place in storage; Prefect adds the run, the flow and the deployment."""
    resource = {"prefect.resource.id": place, "prefect.resource.name": place}
    emit_event(event, resource=resource, payload=dict(payload))


def _place(container: str, prefix: str) -> str:
    return f"{AZURE}{container}/{prefix.strip('/')}".rstrip("/")
