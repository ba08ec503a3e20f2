"""The ledger: every conversion in exactly one state, with a reason that a person understands."""

import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, get_args

from prefect import task

from tasks.files import fresh_file
from tasks.models import (
    Conversion,
    Diagnosis,
    Evidence,
    FileResult,
    Outcome,
    Plan,
    Refusal,
    State,
    Ticket,
)
from tasks.naming import batch_task_id
from tasks.parameters import Request
from tasks.pool import nodes_wanted
from tasks.sources import is_blob, local_path
from tasks.stage import STAGE

DONE = ("converted", "skipped")
logger = logging.getLogger(__name__)
LOGGED_FILES = 1000  # beyond, the report file has them
WORD_LINES = 3  # of ffmpeg's own words in a reason
RUNNER = "runner: "  # begins the lines of runner.sh among ffmpeg's
FFMPEG_CONTEXT = re.compile(r"\[[^]]* @ 0x[0-9a-f]+\] ?")  # addresses tell nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All that is known of a run when it ends."""

    plan: Plan
    request: Request
    ticket: Ticket
    refusals: tuple[Refusal, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    evidence: Evidence
    diagnosis: Diagnosis | None = None

    @property
    def converted(self) -> list[str]:
        """The blobs of all outputs that are there, of this run and of earlier ones."""
        outputs = self.evidence.outputs
        pending = [
            c.output
            for c in self.plan.pending
            if c.output in outputs and outputs[c.output].key == c.key
        ]
        return [*(c.output for c in self.plan.done), *pending]


@dataclass(frozen=True, slots=True)
class Report:
    run: Mapping[str, Any]
    summary: Mapping[str, Any]
    files: tuple[FileResult, ...]

    @property
    def is_success(self) -> bool:
        return self.run["dry_run"] is not None or all(f.state in DONE for f in self.files)

    @property
    def headline(self) -> str:
        counts = ((state, self.summary[state]) for state in get_args(State))
        return ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in counts if n)


@task(name="report", **STAGE)
async def make_report(ledger: Ledger) -> Report:
    """Settle every conversion's state and write the report file, where one is asked for."""
    report = write_report(ledger)
    for file in report.files[:LOGGED_FILES]:
        if file.state not in DONE and not ledger.request.run.dry_run:
            logger.warning("%s: %s: %s", file.source, file.state.replace("_", " "), file.reason)
    return report


def write_report(ledger: Ledger) -> Report:
    report = build_report(ledger, now=datetime.now(UTC))
    if (path := ledger.request.output.report) and not ledger.request.run.dry_run:
        with fresh_file(local_path(path)) as file:
            file.write(json.dumps(asdict(report), indent=2, default=str).encode())
    return report


def build_report(ledger: Ledger, *, now: datetime) -> Report:
    files = tuple(settle(ledger))
    seconds = round((now - ledger.ticket.started_at).total_seconds(), 3)
    return Report(
        run=describe_run(ledger, now=now), summary=summarise(files, seconds=seconds), files=files
    )


def describe_run(ledger: Ledger, *, now: datetime) -> dict[str, Any]:
    ticket, request = ledger.ticket, ledger.request
    return {
        "id": ticket.run_id,
        "presets": request.output.presets,
        "options": request.output.options,
        "container": request.output.container,
        "prefix": request.output.prefix,
        "download_to": request.output.download_to,
        "job": ticket.job_id,
        "pool": ticket.pool_id,
        "started_at": ticket.started_at.isoformat(timespec="seconds"),
        "ended_at": now.isoformat(timespec="seconds"),
        "diagnosis": asdict(ledger.diagnosis) if ledger.diagnosis else None,
        "dry_run": foresee(ledger) if request.run.dry_run else None,
    }


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
    }


def summarise(files: Iterable[FileResult], *, seconds: float) -> dict[str, Any]:
    files = list(files)
    states = Counter(file.state for file in files)
    return {
        **{state: states[state] for state in get_args(State)},
        "files": len(files),
        "seconds": seconds,
        "source_seconds": round(sum(f.source_seconds or 0 for f in files), 3),
        "output_bytes": sum(f.output_bytes or 0 for f in files),
    }


def settle(ledger: Ledger) -> list[FileResult]:
    """One row for each source and preset, in the order of their names."""
    presets = [preset.name for preset in ledger.request.output.chosen]
    refusals = {
        (refusal.source.location, preset): refusal
        for refusal in (*ledger.plan.refused, *ledger.refusals)
        for preset in ([refusal.preset] if refusal.preset else presets)
    }
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in sorted(ledger.outcomes, key=lambda o: o.attempt):
        outcomes[outcome.key].append(outcome)
    rows = [_refused(refusal, preset) for (_, preset), refusal in refusals.items()]
    rows += [_skipped(conversion) for conversion in ledger.plan.done]
    rows += [
        _settle(conversion, outcomes[conversion.key], ledger)
        for conversion in ledger.plan.pending
        if (conversion.source.location, conversion.preset) not in refusals
    ]
    return sorted(rows, key=lambda row: (row.source, presets.index(row.preset)))


def _refused(refusal: Refusal, preset: str) -> FileResult:
    return FileResult(refusal.source.name, preset, refusal.output, "failed", reason=refusal.reason)


def _skipped(conversion: Conversion) -> FileResult:
    return FileResult(
        conversion.source.name,
        conversion.preset,
        conversion.output,
        "skipped",
        reason="it is converted already",
    )


def _settle(conversion: Conversion, outcomes: list[Outcome], ledger: Ledger) -> FileResult:
    last = outcomes[-1] if outcomes else None
    state, reason = judge(conversion, last, ledger)
    stamp = ledger.evidence.outputs.get(conversion.output)
    name = batch_task_id(last.key, last.attempt) if last else ""
    return FileResult(
        source=conversion.source.name,
        preset=conversion.preset,
        output=conversion.output,
        state=state,
        reason=reason,
        attempts=sum(outcome.tries for outcome in outcomes),
        node=last.node if last else None,
        exit_code=last.exit_code if last else None,
        seconds=last.seconds if last else None,
        source_seconds=conversion.seconds,
        output_seconds=ledger.evidence.seconds.get(name),
        output_bytes=stamp.size_bytes if stamp and state == "converted" else None,
    )


def judge(
    conversion: Conversion, outcome: Outcome | None, ledger: Ledger
) -> tuple[State, str | None]:
    """A conversion's state, and why it is not converted. The output's key is the only proof."""
    if ledger.request.run.dry_run:
        return "not_started", "it would be converted"
    stamp = ledger.evidence.outputs.get(conversion.output)
    is_there = stamp is not None and stamp.key == conversion.key
    # By force, what is there may be from before: only then is the batch task asked, too.
    is_new = not ledger.request.run.force or (outcome and outcome.state == "succeeded")
    return ("converted", None) if is_there and is_new else judge_absent(outcome, ledger)


def judge_absent(outcome: Outcome | None, ledger: Ledger) -> tuple[State, str]:
    stopped = ledger.diagnosis.summary if ledger.diagnosis else "the run was stopped"
    if outcome is None:
        return "not_started", stopped
    if outcome.code == "TaskEnded" and outcome.node is None:  # it never had its turn
        return "not_started", stopped
    if outcome.state == "running" or outcome.code == "TaskEnded":
        return "interrupted", stopped
    if outcome.state == "failed":
        tail = ledger.evidence.tails.get(batch_task_id(outcome.key, outcome.attempt), "")
        return "failed", explain(outcome, tail)
    return "failed", "Batch says that it succeeded, but its output is not there"


def explain(outcome: Outcome, tail: str) -> str:
    """A failure in the words of who noticed it: the runner, then ffmpeg; else Batch."""
    lines = [line for line in tail.splitlines() if line.strip()]
    verdicts = [line.removeprefix(RUNNER) for line in lines if line.startswith(RUNNER)]
    words = [FFMPEG_CONTEXT.sub("", line) for line in lines if not line.startswith(RUNNER)]
    if outcome.code != "FailureExitCode" or not lines:
        verdicts = [": ".join(filter(None, (outcome.code, outcome.message))) or "it failed"]
    reason = verdicts[-1] if verdicts else f"ffmpeg failed with status {outcome.exit_code}"
    said = "; ".join(words[-WORD_LINES:])
    return f"{reason} (ffmpeg: {said})" if said else reason
