"""The ledger: all facts about a run, from which each file gets one state and a reason."""

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
FFMPEG_LINES = 3  # of ffmpeg's messages to quote in a reason
RUNNER_PREFIX = "runner: "  # of the lines that runner.sh prints
FFMPEG_CONTEXT = re.compile(r"\[[^]]* @ 0x[0-9a-f]+\] ?")  # a memory address has no meaning here


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All that is known about a run when it ends."""

    plan: Plan
    request: Request
    ticket: Ticket
    refusals: tuple[Refusal, ...] = ()
    batch_results: tuple[BatchResult, ...] = ()
    evidence: Evidence
    unread: frozenset[str] = frozenset()  # keys that were submitted, and no more is known
    diagnosis: Diagnosis | None = None
    spans: tuple[Span, ...] = ()
    nodes: tuple[NodeLife, ...] = ()
    checks: tuple[Check, ...] = ()
    is_fetched: bool = False  # the outputs are in the download folder

    @property
    def converted(self) -> list[str]:
        """The names of all output blobs that exist, from this run and from earlier ones."""
        pending = (c.output for c in self.plan.pending if c.key in self.evidence.sizes)
        return [*(c.output for c in self.plan.done), *pending]


def file_results(ledger: Ledger) -> list[FileResult]:
    """Return one row for each source and preset, sorted by source, then in the order of presets."""
    presets = [preset.name for preset in ledger.request.output.chosen]
    refusals = {
        (refusal.source.location, preset): refusal
        for refusal in (*ledger.plan.refused, *ledger.refusals)
        for preset in ([refusal.preset] if refusal.preset else presets)
    }
    last_results, earlier_tries = last_by_key(ledger.batch_results)
    rows = [refused_row(refusal, preset) for (_, preset), refusal in refusals.items()]
    rows += [skipped_row(conversion) for conversion in ledger.plan.done]
    rows += [
        pending_row(
            conversion,
            last_results.get(conversion.key),
            ledger,
            earlier_tries=earlier_tries[conversion.key],
        )
        for conversion in ledger.plan.pending
        if (conversion.source.location, conversion.preset) not in refusals
    ]
    return sorted(rows, key=lambda row: (row.source, presets.index(row.preset)))


def last_by_key(
    batch_results: Iterable[BatchResult],
) -> tuple[dict[str, BatchResult], Counter[str]]:
    """Return the last attempt at each conversion, and the number of tries of earlier attempts."""
    last: dict[str, BatchResult] = {}
    tries: Counter[str] = Counter()
    for batch_result in sorted(batch_results, key=lambda result: result.attempt):
        if before := last.get(batch_result.key):
            tries[batch_result.key] += before.tries
        last[batch_result.key] = batch_result
    return last, tries


def refused_row(refusal: Refusal, preset: str) -> FileResult:
    return FileResult(refusal.source.name, preset, refusal.output, "failed", reason=refusal.reason)


def skipped_row(conversion: Conversion) -> FileResult:
    return FileResult(
        conversion.source.name,
        conversion.preset,
        conversion.output,
        "skipped",
        reason="it is already converted",
    )


def pending_row(
    conversion: Conversion, last: BatchResult | None, ledger: Ledger, *, earlier_tries: int
) -> FileResult:
    state, reason = decide_state(conversion, last, ledger)
    size_bytes = ledger.evidence.sizes.get(conversion.key)
    return FileResult(
        source=conversion.source.name,
        preset=conversion.preset,
        output=conversion.output,
        state=state,
        reason=reason,
        attempts=earlier_tries + (last.tries if last else 0),
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


def decide_state(
    conversion: Conversion, batch_result: BatchResult | None, ledger: Ledger
) -> tuple[State, str | None]:
    """Return the state of a conversion, and the reason if it is not converted.

    The only proof of a conversion is an output with its key.
    """
    if ledger.request.run.dry_run:
        return "not_started", "it would be converted"
    exists = conversion.key in ledger.evidence.sizes
    # With --force, the output may be from an earlier run: then the batch task counts, too.
    is_new = not ledger.request.run.force or (batch_result and batch_result.state == "succeeded")
    if exists and is_new:
        return "converted", None
    if conversion.key in ledger.unread:
        return "interrupted", "submitted; its result could not be read"
    return decide_without_output(batch_result, ledger)


def decide_without_output(batch_result: BatchResult | None, ledger: Ledger) -> tuple[State, str]:
    stopped = ledger.diagnosis.summary if ledger.diagnosis else "the run was stopped"
    if batch_result is None:
        return "not_started", stopped
    if batch_result.code == "TaskEnded" and batch_result.node is None:  # it never started
        return "not_started", stopped
    if batch_result.state == "running" or batch_result.code == "TaskEnded":
        return "interrupted", stopped
    if batch_result.state == "failed":
        tail = ledger.evidence.tails.get(batch_task_id(batch_result.key, batch_result.attempt), "")
        return "failed", failure_reason(batch_result, tail)
    return "failed", "Batch reports success, but the output does not exist"


def failure_reason(batch_result: BatchResult, tail: str) -> str:
    """Return the message of runner.sh or of Batch, followed by the last messages of ffmpeg."""
    lines = [line for line in tail.splitlines() if line.strip()]
    reasons = [line.removeprefix(RUNNER_PREFIX) for line in lines if is_of_runner(line)]
    messages = [FFMPEG_CONTEXT.sub("", line) for line in lines if not is_of_runner(line)]
    if batch_result.code != "FailureExitCode" or not lines:
        reasons = [
            ": ".join(filter(None, (batch_result.code, batch_result.message))) or "it failed"
        ]
    reason = reasons[-1] if reasons else f"ffmpeg failed with status {batch_result.exit_code}"
    quoted = "; ".join(messages[-FFMPEG_LINES:])
    return f"{reason} (ffmpeg: {quoted})" if quoted else reason


def is_of_runner(line: str) -> bool:
    return line.startswith(RUNNER_PREFIX)
