"""Tokens of Microsoft Entra ID over TLS."""

import ssl
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from azure.batch import BatchClient
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import DefaultAzureCredential

pytestmark = pytest.mark.accounts("entra")


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ("expired", "expired"),
        ("early", "not valid yet"),
        ("audience", "graph.microsoft.com"),
        ("issuer", "issued by"),
        ("signature", "Signature"),
    ],
)
def test_a_flawed_token_gets_401_with_the_reason_and_where_to_get_one(
    flaw: str,
    reason: str,
    account: dict[str, str],
    credential: DefaultAzureCredential,
    order_flaw: Callable[[str], None],
) -> None:
    order_flaw(flaw)
    with (
        BatchClient(account["AZURE_BATCH_ENDPOINT"], credential) as batch,
        pytest.raises(ClientAuthenticationError) as caught,
    ):
        list(batch.list_pools())
    error: Any = caught.value
    assert (error.status_code, error.error.code) == (401, "AuthenticationFailed")
    (detail,) = error.model.error_values
    assert detail.key == "AuthenticationErrorDetail"
    assert reason in detail.value
    assert error.response.headers["WWW-Authenticate"].startswith(
        f'Bearer authorization_uri="{account["AZURE_AUTHORITY_HOST"]}/'
    )


def test_a_request_without_a_token_gets_401_that_says_so(account: dict[str, str]) -> None:
    trusted = ssl.create_default_context(cafile=account["SSL_CERT_FILE"])
    url = f"{account['AZURE_BATCH_ENDPOINT']}/pools?api-version=2025-06-01"
    answer = httpx.get(url, verify=trusted)
    (detail,) = answer.json()["values"]
    assert answer.status_code == 401
    assert detail["value"].startswith("The request has no Authorization header")


def test_a_bearer_without_a_role_gets_403(
    account: dict[str, str], credential: DefaultAzureCredential, order_flaw: Callable[[str], None]
) -> None:
    order_flaw("role")
    with (
        BatchClient(account["AZURE_BATCH_ENDPOINT"], credential) as batch,
        pytest.raises(HttpResponseError) as caught,
    ):
        list(batch.list_pools())
    assert (caught.value.status_code, caught.value.error.code) == (403, "AuthorizationFailure")
