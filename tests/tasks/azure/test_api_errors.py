from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.core.rest import HttpRequest

from tasks.azure.api_errors import code_of, is_gone, is_transient


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServiceRequestError("no route"), True),
        (IncompleteReadError("cut off"), True),
        (ClientAuthenticationError("not signed in"), False),
        (ValueError("not from Azure"), False),
    ],
)
def test_lost_connections_are_transient(error: Exception, expected: bool) -> None:  # noqa: FBT001  a table
    assert is_transient(error) is expected


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_busy_service_is_a_transient_error(
    order: Any, batch: BatchClient, status: int
) -> None:
    order("answer", status=status, operation="POST /jobs/none/terminate")
    request = HttpRequest("POST", "/jobs/none/terminate?api-version=2025-06-01", json={})
    with pytest.raises(HttpResponseError) as caught:
        batch.send_request(request, retry_total=0).raise_for_status()
    assert is_transient(caught.value)


def test_a_missing_job_is_gone_and_not_a_transient_error(batch: BatchClient) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        batch.get_job("none")
    assert code_of(caught.value) == "JobNotFound"
    assert is_gone(caught.value)
    assert not is_transient(caught.value)
