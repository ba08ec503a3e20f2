"""The ledger: all facts about a run, from which each file gets one state and a reason."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tasks.azure.explanations import is_code
from tasks.causes import cause_of
from tasks.media.verification import Verified
from tasks.models import (
    BatchResult,
    Check,
    Conversion,
    Diagnosis,
    Evidence,
    Excerpts,
    FileResult,
    KnownFailure,
    NodeLife,
    Plan,
    Refusal,
    Span,
    State,
    Ticket,
)
from tasks.naming import batch_task_id
from tasks.parameters import Request
from tasks.results.ffmpeg_messages import quotable
from tasks.results.runner_output import REASON_PREFIX, VERSION_PREFIX

DONE = ("converted", "skipped")
FFMPEG_LINES = 3  # of ffmpeg's messages to quote in a reason


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
    sent: Mapping[str, int] = field(default_factory=dict)  # bytes, by the key of one conversion
    excerpts: Excerpts = field(default_factory=dict)

    @property
    def converted(self) -> list[str]:
        """The names of all output blobs that exist, from this run and from earlier ones."""
        pending = (c.output for c in self.plan.pending if c.key in self.evidence.sizes)
        return [*(c.output for c in self.plan.done), *pending]


def file_results(ledger: Ledger) -> list[FileResult]:
    """Return one row for each source and preset: by name, then path, then the order of presets."""
    presets = [preset.name for preset in ledger.request.output.chosen]
    refusals = {
        (refusal.source.location, preset): refusal
        for refusal in (*ledger.plan.refused, *ledger.refusals)
        for preset in ([refusal.preset] if refusal.preset else presets)
    }
    last_results, earlier_tries = last_by_key(ledger.batch_results)
    rows = [refused_row(refusal, preset) for (_, preset), refusal in refusals.items()]
    rows += [skipped_row(conversion) for conversion in ledger.plan.done]
    rows += [known_row(failure) for failure in ledger.plan.known_failures]
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
    return sorted(rows, key=lambda row: (row.source, row.path, presets.index(row.preset)))


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
    source = refusal.source
    return FileResult(
        source.name, preset, refusal.output, "failed", reason=refusal.reason, path=source.location
    )


def skipped_row(conversion: Conversion) -> FileResult:
    reason, note = "it is already converted", None
    if conversion.existing == "earlier":
        version = earlier_version(conversion.preset)
        reason = f"it was converted by {version}; --force converts it again"
        note = f"{version} converted it"
    return FileResult(
        conversion.source.name,
        conversion.preset,
        conversion.output,
        "skipped",
        reason=reason,
        path=conversion.source.location,
        note=note,
    )


def earlier_version(preset: str) -> str:
    return f"an earlier version of preset {preset}"


def known_row(failure: KnownFailure) -> FileResult:
    conversion, day = failure.conversion, failure.failed_at.date().isoformat()
    return FileResult(
        conversion.source.name,
        conversion.preset,
        conversion.output,
        "failed",
        reason=f"{failure.reason} (in an earlier run, {day}; --retry-failed tries again)",
        key=conversion.key,
        path=conversion.source.location,
        known_since=failure.failed_at,
    )


def pending_row(
    conversion: Conversion, last: BatchResult | None, ledger: Ledger, *, earlier_tries: int
) -> FileResult:
    state, reason = decide_state(conversion, last, ledger)
    size_bytes = ledger.evidence.sizes.get(conversion.key)
    verified = ledger.evidence.verified.get(conversion.key) if state == "converted" else None
    has_output = state == "converted" or ledger.request.run.dry_run  # or would have one
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
        output_seconds=verified.seconds if verified else None,
        missing_seconds=verified.missing_seconds if verified else None,
        warnings=warnings_about(conversion, verified) if has_output else (),
        output_bytes=size_bytes if state == "converted" else None,
        started_at=last.started_at if last else None,
        ended_at=last.ended_at if last else None,
        key=conversion.key,
        path=conversion.source.location,
        note=note_on_output(conversion) if state == "converted" else None,
        track=conversion.track if has_output else None,
        copied=bool(verified and verified.is_copied),
        source_bytes=conversion.source.size_bytes,
        sent_bytes=ledger.sent.get(conversion.key, 0),
    )


def warnings_about(conversion: Conversion, verified: Verified | None) -> tuple[str, ...]:
    """Return what the plan expected, and what a node found."""
    return (*conversion.warnings, *(verified.warnings if verified else ()))


def note_on_output(conversion: Conversion) -> str | None:
    """Return which earlier output a new one has replaced, if any."""
    if conversion.existing == "outdated":
        return "it replaced an earlier output: the source or the options have changed"
    if conversion.existing == "earlier":
        return f"it replaced the output of {earlier_version(conversion.preset)}"
    return None


def decide_state(
    conversion: Conversion, batch_result: BatchResult | None, ledger: Ledger
) -> tuple[State, str | None]:
    """Return the state of a conversion, and the reason if it is not converted.

    The only proof of a conversion is an output with its key.
    """
    if ledger.request.run.dry_run:
        is_outdated = conversion.existing == "outdated"
        note = " again: the source or the options have changed" if is_outdated else ""
        return "not_started", f"it would be converted{note}"
    if problem := ledger.evidence.source_problems.get(conversion.key):
        return "failed", problem
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
    is_ended = is_code(batch_result.code, "TaskEnded")
    if is_ended and batch_result.node is None:  # it never started
        return "not_started", stopped
    if batch_result.state == "running" or is_ended:
        return "interrupted", stopped
    if cause_of(batch_result, ledger.excerpts) == "excerpt":  # the whole source was not tried
        return "interrupted", stopped
    if batch_result.state == "failed":
        tail = ledger.evidence.tails.get(batch_task_id(batch_result.key, batch_result.attempt), "")
        return "failed", failure_reason(batch_result, tail)
    return "failed", "Batch reports success, but the output does not exist"


def failure_reason(batch_result: BatchResult, tail: str) -> str:
    """Return the message of runner.sh or of Batch, followed by the last messages of ffmpeg."""
    lines = [line for line in tail.splitlines() if line.strip()]
    reasons = [line.removeprefix(REASON_PREFIX) for line in lines if line.startswith(REASON_PREFIX)]
    messages = quotable((line for line in lines if not is_of_runner(line)), most=FFMPEG_LINES)
    if not is_code(batch_result.code, "FailureExitCode") or not lines:
        reasons = [reason_of_batch(batch_result)]
    reason = reasons[-1] if reasons else f"ffmpeg failed with status {batch_result.exit_code}"
    quoted = "; ".join(messages)
    return f"{reason} (ffmpeg: {quoted})" if quoted else reason


def reason_of_batch(batch_result: BatchResult) -> str:
    reason = ": ".join(filter(None, (batch_result.code, batch_result.message))) or "it failed"
    return f"{reason} ({batch_result.details})" if batch_result.details else reason


def is_of_runner(line: str) -> bool:
    return line.startswith((REASON_PREFIX, VERSION_PREFIX))
