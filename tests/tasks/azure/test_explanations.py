import pytest
from azure.batch import models

from tasks.azure.explanations import LONGEST_VALUE, explanation, is_code, of_code

SIGNED = "https://account.blob.core.windows.net/input/a.mp4?sv=2025&sp=r&sig=se%2Fcret"


@pytest.mark.parametrize("code", ["AllocationTimedout", "AllocationTimedOut", "allocationtimedout"])
def test_a_code_is_recognized_in_any_case(code: str) -> None:
    assert is_code(code, "PoolExists", "AllocationTimedout")
    assert of_code({"PoolExists": 1, "AllocationTimedout": 2}, code) == 2


def test_an_unknown_or_missing_code_is_none_of_the_expected_ones() -> None:
    assert not is_code(None, "PoolExists")
    assert not is_code("PoolExist", "PoolExists")
    assert of_code({"PoolExists": 1}, None) is None


PAIR = models.NameValuePair(name="Reason", value="no cores")


@pytest.mark.parametrize(
    "error",
    [
        models.ResizeError(code="Code", message="It failed.", error_values=[PAIR]),
        models.AutoScaleRunError(code="Code", message="It failed", error_values=[PAIR]),
        models.BatchNodeError(code="Code", message="It failed.", error_details=[PAIR]),
        models.BatchTaskFailureInfo(
            category="usererror", code="Code", message="It failed.\nRequestId:1", details=[PAIR]
        ),
        models.BatchError(
            code="Code",
            message=models.BatchErrorMessage(lang="en-us", value="It failed.\nTime:now"),
            error_values=[models.BatchErrorDetail(key="Reason", value="no cores")],
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_each_kind_of_error_is_explained_with_its_code_its_message_and_its_details(
    error: models.BatchError,
) -> None:
    assert explanation(error) == "Code: It failed (Reason: no cores)"


def test_an_error_without_anything_has_no_reason() -> None:
    assert explanation({}) == "no reason given"
    assert explanation({"code": "Code"}) == "Code"


def test_a_detail_that_repeats_the_message_is_left_out() -> None:
    details = [{"name": "Message", "value": "The task failed."}, {"name": "Empty", "value": None}]
    assert explanation({"message": "The task failed", "details": details}) == "The task failed"


def test_a_signature_in_a_url_is_left_out_of_an_explanation() -> None:
    details = [{"name": "BlobSource", "value": f"GET {SIGNED} 403"}]
    text = explanation({"code": "BlobAccessDenied", "details": details})
    source = SIGNED.partition("?")[0]
    assert text == f"BlobAccessDenied (BlobSource: GET {source} 403)"


def test_a_long_detail_is_cut_and_stays_in_one_line() -> None:
    text = explanation({"values": [{"key": "Reason", "value": "a\nb " + "c" * 1000}]})
    assert "a b ccc" in text
    assert len(text) < LONGEST_VALUE + 50


@pytest.mark.parametrize(
    "text",
    [
        "cannot write https://a.blob.core.windows.net/o/a.mp3?sv=1&sig=SECRET now",
        "cannot write HTTPS://a/o?sig=SECRET now",
        "the token sv=1&sig=SECRET has expired",
        "encoded: sv%3D1%26sig%3DSECRET",
    ],
)
def test_a_message_is_shown_without_tokens(text: str) -> None:
    assert "SECRET" not in explanation({"code": "X", "message": text})
