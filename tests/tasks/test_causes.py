import pytest

from tasks.causes import cause_of, retryable
from tasks.models import BatchResult


def failed(
    key: str = "k",
    *,
    attempt: int = 1,
    status: int | None = None,
    code: str = "FailureExitCode",
    category: str = "usererror",
) -> BatchResult:
    return BatchResult(key, attempt, "failed", exit_code=status, code=code, category=category)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (65, "source"),
        (64, "other"),
        (75, "other"),
        (127, "other"),
        (66, "transfer"),
        (137, "crash"),
        (139, "crash"),
        (228, "crash"),
    ],
)
def test_the_exit_status_of_the_runner_says_what_is_at_fault(status: int, cause: str) -> None:
    assert cause_of(failed(status=status)) == cause


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("BlobNotFound", "transfer"),
        ("FileUploadMiscError", "transfer"),
        ("BLOBNOTFOUND", "transfer"),
        ("ResourceDirectoryCreateFailed", "transfer"),
        ("ResourceFileCreateFailed", "transfer"),
        ("ResourceFileWriteFailed", "transfer"),
        ("DiskFull", "transfer"),
        ("Unknown", "transfer"),
        ("TaskEnded", "other"),
        ("CommandProgramNotFound", "other"),
    ],
)
def test_the_code_of_batch_says_what_is_at_fault_even_after_an_exit_status(
    code: str, cause: str
) -> None:
    assert cause_of(failed(code=code, status=0)) == cause


@pytest.mark.parametrize(
    ("category", "cause"),
    [
        ("servererror", "transfer"),
        ("ServerError", "transfer"),
        ("usererror", "other"),
        ("", "other"),
    ],
)
def test_the_category_decides_about_codes_that_are_not_in_the_table(
    category: str, cause: str
) -> None:
    assert cause_of(failed(code="Brandnew", category=category)) == cause


def test_an_exit_code_is_recognized_in_any_case() -> None:
    assert cause_of(failed(code="failureexitcode", status=65)) == "source"


def test_a_batch_task_that_runs_or_succeeded_has_no_cause_of_failure() -> None:
    assert cause_of(BatchResult("k", 1, "running", code="BlobNotFound")) is None
    assert cause_of(BatchResult("k", 1, "succeeded", exit_code=0)) is None


def again(*results: BatchResult, retries: int) -> dict[str, str]:
    attempt = max(result.attempt for result in results)
    return dict(retryable(results, attempt=attempt, retries=retries))


def test_a_source_at_fault_is_never_tried_again() -> None:
    assert again(failed(status=65), failed("l", status=64), retries=10) == {}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_crash_is_tried_again_as_often_as_the_limit_says(retries: int) -> None:
    results = [failed(status=139, attempt=1)]
    while again(*results, retries=retries):
        results.append(failed(status=139, attempt=len(results) + 1))
    assert len(results) == 1 + retries


def test_a_failed_transfer_is_tried_again_once_even_without_retries() -> None:
    first, second = (failed(code="BlobNotFound", attempt=attempt) for attempt in (1, 2))
    assert again(first, retries=0) == {"k": "transfer"}
    assert again(first, second, retries=5) == {}


def test_a_crash_after_a_failed_transfer_has_its_own_retries() -> None:
    transfer, crash = failed(code="BlobNotFound"), failed(status=139, attempt=2)
    assert again(transfer, crash, retries=1) == {"k": "crash"}
    assert again(transfer, crash, retries=0) == {}


def test_a_conversion_that_failed_in_an_earlier_attempt_only_is_not_tried_again() -> None:
    assert again(failed("l", status=139), BatchResult("k", 2, "succeeded"), retries=5) == {}


def test_only_the_whole_source_can_be_at_fault_not_an_excerpt_of_it() -> None:
    first, second = failed(status=65), failed(status=65, attempt=2)
    assert [cause_of(each, {1: {"k"}}) for each in (first, second)] == ["excerpt", "source"]
    assert cause_of(failed(status=139), {1: {"k"}}) == "crash"
    assert retryable([first], attempt=1, retries=0, excerpts={1: {"k"}}) == {"k": "excerpt"}
    assert retryable([first, second], attempt=2, retries=9, excerpts={1: {"k"}}) == {}
