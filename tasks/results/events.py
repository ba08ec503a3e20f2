"""Events for automations in Prefect: one for each run, and one for each sweep.

There is no event for each file: Prefect stores every event in its database and compares it with
every automation. 10,000 events would say no more than the report.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.events import emit_event

from tasks.errors import ConvertError
from tasks.leftovers import Leftover
from tasks.media.addresses import AZURE
from tasks.parameters import Output
from tasks.results.ledger import DONE
from tasks.results.run_report import Report, json_values
from tasks.results.text import printable

CONVERTED = "batch-convert.run.converted"
FAILED = "batch-convert.run.failed"
SWEPT = "batch-convert.swept"
NAMES = 20  # of files or leftovers in an event


def announce_report(report: Report) -> None:
    """Announce whether all files of a run are converted or skipped. Dry runs are not announced."""
    if report.run.dry_run is None:
        event = CONVERTED if report.is_success else FAILED
        announce(event, address(report.run.container, report.run.prefix), describe(report))


def describe(report: Report) -> dict[str, Any]:
    missing = dict.fromkeys(file.source for file in report.files if file.state not in DONE)
    diagnosis = report.run.diagnosis
    return {
        "headline": report.headline,
        "summary": json_values(report.summary),
        "diagnosis": diagnosis.code if diagnosis else None,
        "files": [printable(name) for name in list(missing)[:NAMES]],
    }


def announce_error(error: Exception, output: Output) -> None:
    """Announce that an error ended a run."""
    # The text of an error of another origin may contain a URL with a SAS token.
    headline = str(error) if isinstance(error, ConvertError) else type(error).__name__
    announce(
        FAILED,
        address(output.container, output.prefix),
        {"headline": headline, "summary": {}, "diagnosis": None, "files": []},
    )


def announce_sweep(deleted: Sequence[Leftover], container: str) -> None:
    """Announce what a sweep deleted, if it deleted something."""
    if deleted:
        count = Counter(leftover.kind for leftover in deleted)
        headline = ", ".join(f"{kind}: {n}" for kind, n in sorted(count.items()))
        names = [f"{leftover.kind} {leftover.name}" for leftover in deleted[:NAMES]]
        payload = {"headline": f"Deleted {headline}", "summary": dict(count), "leftovers": names}
        announce(SWEPT, address(container, ""), payload)


def announce(event: str, place: str, payload: Mapping[str, Any]) -> None:
    """Emit an event about a place in storage; Prefect adds the run, the flow and the deployment."""
    resource = {"prefect.resource.id": place, "prefect.resource.name": place}
    emit_event(event, resource=resource, payload=dict(payload))


def address(container: str, prefix: str) -> str:
    return f"{AZURE}{container}/{prefix.strip('/')}".rstrip("/")
