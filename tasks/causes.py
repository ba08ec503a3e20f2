"""The causes of failed batch tasks. They decide what a run tries again and what it remembers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from tasks.models import BatchResult

Cause = Literal["source", "crash", "transfer", "other"]
MISMATCH_STATUS = 75  # EX_TEMPFAIL: the source does not have its MD5
EXIT_CODES: Mapping[int | None, Cause] = {  # those of runner.sh, after `sysexits.h`
    64: "other",  # EX_USAGE: a wrong setting
    65: "source",  # EX_DATAERR: it cannot be decoded, or the check of the output fails
    66: "transfer",  # EX_NOINPUT: the input is missing on the node
    MISMATCH_STATUS: "other",  # the source was replaced after planning, so its key is another
    126: "other",  # the shell cannot start ffmpeg
    127: "other",  # there is no ffmpeg
}
TRANSFER_CODES = ("Blob", "FileUpload", "Resource", "Node", "DiskFull")  # prefixes of Batch's codes
TRANSFER_RETRIES = 1


def cause_of(batch_result: BatchResult) -> Cause | None:
    """Return why a batch task failed, or None if it did not fail."""
    if batch_result.state != "failed":
        return None
    if batch_result.code.startswith(TRANSFER_CODES):
        return "transfer"
    if batch_result.code != "FailureExitCode":
        return "other"  # for example, a user ended it
    return EXIT_CODES.get(batch_result.exit_code, "crash")


def retryable(
    batch_results: Iterable[BatchResult], *, attempt: int, retries: int
) -> dict[str, Cause]:
    """Return which conversions to try again after an attempt, and why it failed, by key.

    Args:
        batch_results: The results of all attempts.
        attempt: The number of the last attempt.
        retries: How often to try again after crashes of ffmpeg.
    """
    causes = [(r, cause) for r in batch_results if (cause := cause_of(r))]
    failures = Counter((r.key, cause) for r, cause in causes)
    allowed: dict[Cause, int] = {"crash": retries, "transfer": TRANSFER_RETRIES}
    return {
        r.key: cause
        for r, cause in causes
        if r.attempt == attempt and failures[r.key, cause] <= allowed.get(cause, 0)
    }
