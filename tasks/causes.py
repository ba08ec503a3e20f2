"""The causes of failed batch tasks. They decide what a run tries again and what it remembers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from tasks.azure.explanations import is_code, of_code
from tasks.models import NO_EXCERPTS, BatchResult, Excerpts

Cause = Literal["source", "excerpt", "crash", "transfer", "other"]
MISMATCH_STATUS = 75  # EX_TEMPFAIL: the source does not have its MD5
EXIT_CODES: Mapping[int | None, Cause] = {  # those of runner.sh, after `sysexits.h`
    64: "other",  # EX_USAGE: a wrong setting
    65: "source",  # EX_DATAERR: it cannot be decoded, or the check of the output fails
    66: "transfer",  # EX_NOINPUT: the input is missing on the node
    MISMATCH_STATUS: "other",  # the source was replaced after planning, so its key is another
    126: "other",  # the shell cannot start ffmpeg
    127: "other",  # there is no ffmpeg
}
# Batch's codes of task scheduling errors with their categories, and .NET's codes of failed uploads:
# https://learn.microsoft.com/rest/api/batchservice/batch-status-and-error-codes
# https://learn.microsoft.com/dotnet/api/microsoft.azure.batch.common.taskfailureinformationcodes
BATCH_CODES: Mapping[str, Cause] = {
    # Errors of users, but the run makes the names and the SAS tokens: an upload may be missing.
    "BlobNotFound": "transfer",
    "BlobAccessDenied": "transfer",
    "ResourceContainerAccessDenied": "transfer",
    "ResourceContainerListMiscError": "transfer",
    "FileUploadAccessDenied": "transfer",
    "FileUploadContainerNotFound": "transfer",
    "FileUploadMiscError": "transfer",
    # Errors of the service and its nodes.
    "BlobDownloadTimedOut": "transfer",
    "BlobDownloadMiscError": "transfer",
    "ResourceDirectoryCreateFailed": "transfer",
    "ResourceFileCreateFailed": "transfer",
    "ResourceFileWriteFailed": "transfer",
    "DiskFull": "transfer",
    "Unknown": "transfer",
    # Errors of users: the same batch task would fail again, or a user ended it.
    "ApplicationPackageError": "other",
    "CommandLaunchFailed": "other",
    "CommandProgramNotFound": "other",
    "MaxInternalRetryCountReached": "other",
    "TaskEnded": "other",
    "TaskSchedulingConstraintFailed": "other",
}
CATEGORIES: Mapping[str, Cause] = {"servererror": "transfer"}  # for codes that are not listed
TRANSFER_RETRIES = EXCERPT_RETRIES = 1


def cause_of(batch_result: BatchResult, excerpts: Excerpts = NO_EXCERPTS) -> Cause | None:
    """Return why a batch task failed, or None if it did not fail.

    Only the batch task of a whole source can prove that it is at fault.
    """
    cause = _cause_of_any(batch_result)
    is_excerpt = batch_result.key in excerpts.get(batch_result.attempt, ())
    return "excerpt" if cause == "source" and is_excerpt else cause


def _cause_of_any(batch_result: BatchResult) -> Cause | None:
    if batch_result.state != "failed":
        return None
    if is_code(batch_result.code, "FailureExitCode"):
        return EXIT_CODES.get(batch_result.exit_code, "crash")
    cause = of_code(BATCH_CODES, batch_result.code)
    return cause or of_code(CATEGORIES, batch_result.category) or "other"


def retryable(
    batch_results: Iterable[BatchResult],
    *,
    attempt: int,
    retries: int,
    excerpts: Excerpts = NO_EXCERPTS,
) -> dict[str, Cause]:
    """Return which conversions to try again after an attempt, and why it failed, by key.

    Args:
        batch_results: The results of all attempts.
        attempt: The number of the last attempt.
        retries: How often to try again after crashes of ffmpeg.
        excerpts: Which batch tasks have only an excerpt of their source.
    """
    causes = [(r, cause) for r in batch_results if (cause := cause_of(r, excerpts))]
    failures = Counter((r.key, cause) for r, cause in causes)
    allowed: dict[Cause, int] = {
        "crash": retries,
        "transfer": TRANSFER_RETRIES,
        "excerpt": EXCERPT_RETRIES,
    }
    return {
        r.key: cause
        for r, cause in causes
        if r.attempt == attempt and failures[r.key, cause] <= allowed.get(cause, 0)
    }
