from http import HTTPStatus

import pytest
from azure.core.exceptions import HttpResponseError

from tasks.azure.scaling import is_refused_for_now


def an_error(code: str) -> HttpResponseError:
    error = HttpResponseError(message="refused")
    error.status_code = HTTPStatus.CONFLICT
    error.error_code = code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    "code", ["TooManyEnableAutoScaleRequests", "toomanyrequests", "PoolBeingResized"]
)
def test_refusals_that_pass_are_repeated(code: str) -> None:
    assert is_refused_for_now(an_error(code))


@pytest.mark.parametrize("code", ["PoolBeingDeleted", "AutoScalingFormulaSyntaxError"])
def test_other_errors_are_not_repeated(code: str) -> None:
    assert not is_refused_for_now(an_error(code))
