"""The ledger: every conversion in exactly one state, with a reason that a person understands."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.models import (
    BatchResult,
    Check,
    Conversion,
    Diagnosis,
    Evidence,
    FileResult,
    NodeLife,
    Plan,
    Refusal,
    Span,
    State,
    Ticket,
)
from tasks.naming import batch_task_id
from tasks.parameters import Request

DONE = ("converted", "skipped")
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
    batch_results: tuple[BatchResult, ...] = ()
    evidence: Evidence
    diagnosis: Diagnosis | None = None
    spans: tuple[Span, ...] = ()
    nodes: tuple[NodeLife, ...] = ()
    checks: tuple[Check, ...] = ()
    is_fetched: bool = False  # the outputs are in the folder for downloads

    @property
    def converted(self) -> list[str]:
        """The blobs of all outputs that are there, of this run and of earlier ones."""
        pending = (c.output for c in self.plan.pending if c.key in self.evidence.sizes)
        return [*(c.output for c in self.plan.done), *pending]


def settle(ledger: Ledger) -> list[FileResult]:
    """One row for each source and preset, in the order of their names."""
    presets = [preset.name for preset in ledger.request.output.chosen]
    refusals = {
        (refusal.source.location, preset): refusal
        for refusal in (*ledger.plan.refused, *ledger.refusals)
        for preset in ([refusal.preset] if refusal.preset else presets)
    }
    batch_results, earlier = by_key(ledger.batch_results)
    rows = [_refused(refusal, preset) for (_, preset), refusal in refusals.items()]
    rows += [_skipped(conversion) for conversion in ledger.plan.done]
    rows += [
        _settle(
            conversion, batch_results.get(conversion.key), ledger, tries=earlier[conversion.key]
        )
        for conversion in ledger.plan.pending
        if (conversion.source.location, conversion.preset) not in refusals
    ]
    return sorted(rows, key=lambda row: (row.source, presets.index(row.preset)))


def by_key(batch_results: Iterable[BatchResult]) -> tuple[dict[str, BatchResult], Counter[str]]:
    """The last attempt at each conversion; and the tries of those before it, which few have."""
    last: dict[str, BatchResult] = {}
    tries: Counter[str] = Counter()
    for batch_result in sorted(batch_results, key=lambda o: o.attempt):
        if before := last.get(batch_result.key):
            tries[batch_result.key] += before.tries
        last[batch_result.key] = batch_result
    return last, tries


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


def _settle(
    conversion: Conversion, last: BatchResult | None, ledger: Ledger, *, tries: int
) -> FileResult:
    state, reason = judge(conversion, last, ledger)
    size_bytes = ledger.evidence.sizes.get(conversion.key)
    return FileResult(
        source=conversion.source.name,
        preset=conversion.preset,
        output=conversion.output,
        state=state,
        reason=reason,
        attempts=tries + (last.tries if last else 0),
        node=last.node if last else None,
        exit_code=last.exit_code if last else None,
        seconds=last.seconds if last else None,
        source_seconds=conversion.seconds,
        output_seconds=ledger.evidence.seconds.get(conversion.key),
        output_bytes=size_bytes if state == "converted" else None,
        started_at=last.started_at if last else None,
        ended_at=last.ended_at if last else None,
        key=conversion.key,
    )


def judge(
    conversion: Conversion, batch_result: BatchResult | None, ledger: Ledger
) -> tuple[State, str | None]:
    """A conversion's state, and why it is not converted. The output's key is the only proof."""
    if ledger.request.run.dry_run:
        return "not_started", "it would be converted"
    is_there = conversion.key in ledger.evidence.sizes
    # By force, what is there may be from before: only then is the batch task asked, too.
    is_new = not ledger.request.run.force or (batch_result and batch_result.state == "succeeded")
    return ("converted", None) if is_there and is_new else judge_absent(batch_result, ledger)


def judge_absent(batch_result: BatchResult | None, ledger: Ledger) -> tuple[State, str]:
    stopped = ledger.diagnosis.summary if ledger.diagnosis else "the run was stopped"
    if batch_result is None:
        return "not_started", stopped
    if batch_result.code == "TaskEnded" and batch_result.node is None:  # it never had its turn
        return "not_started", stopped
    if batch_result.state == "running" or batch_result.code == "TaskEnded":
        return "interrupted", stopped
    if batch_result.state == "failed":
        tail = ledger.evidence.tails.get(batch_task_id(batch_result.key, batch_result.attempt), "")
        return "failed", explain(batch_result, tail)
    return "failed", "Batch says that it succeeded, but its output is not there"


def explain(batch_result: BatchResult, tail: str) -> str:
    """A failure in the words of who noticed it: the runner, then ffmpeg; else Batch."""
    lines = [line for line in tail.splitlines() if line.strip()]
    verdicts = [line.removeprefix(RUNNER) for line in lines if line.startswith(RUNNER)]
    words = [FFMPEG_CONTEXT.sub("", line) for line in lines if not line.startswith(RUNNER)]
    if batch_result.code != "FailureExitCode" or not lines:
        verdicts = [
            ": ".join(filter(None, (batch_result.code, batch_result.message))) or "it failed"
        ]
    reason = verdicts[-1] if verdicts else f"ffmpeg failed with status {batch_result.exit_code}"
    said = "; ".join(words[-WORD_LINES:])
    return f"{reason} (ffmpeg: {said})" if said else reason
