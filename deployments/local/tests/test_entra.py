"""Sign-in to a stack with TLS, by the real credentials of azure-identity without patches."""

import json
import ssl
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import certifi
import httpx
import jwt
import pytest
from azure.batch import BatchClient, models
from azure.batch.aio import BatchClient as AsyncBatchClient
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient, generate_container_sas

from lab import until
from local_azure.directory import BATCH, MANAGEMENT, TOKEN_SECONDS
from local_azure.testing import LocalStack

pytestmark = pytest.mark.accounts("entra")


def test_the_settings_hold_no_account_key(account: dict[str, str], tls_stack: LocalStack) -> None:
    assert "AZURE_BATCH_ACCESS_KEY" not in account
    assert "AZURE_STORAGE_CONNECTION_STRING" not in account
    assert all(tls_stack.batch_key not in value for value in account.values())


def test_the_settings_name_the_bundle_for_clients_in_python_and_javascript(
    account: dict[str, str],
) -> None:
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
    (bundle,) = {account[name] for name in names}
    assert Path(bundle).is_file()


def test_a_sync_client_signs_in_to_batch_and_storage(
    account: dict[str, str], credential: DefaultAzureCredential
) -> None:
    with (
        BatchClient(account["AZURE_BATCH_ENDPOINT"], credential) as batch,
        BlobServiceClient(account["AZURE_STORAGE_SERVICE_ENDPOINT"], credential) as blobs,
    ):
        assert isinstance(list(batch.list_pools()), list)
        assert isinstance(list(blobs.list_containers()), list)


def test_a_client_with_a_key_needs_no_sign_in(batch: BatchClient) -> None:
    assert isinstance(list(batch.list_pools()), list)


def test_addresses_in_answers_are_over_tls(batch: BatchClient, account: dict[str, str]) -> None:
    info = models.BatchPoolInfo(pool_id="none")
    batch.create_job(models.BatchJobCreateOptions(id="addresses", pool_info=info))
    job = batch.get_job("addresses")
    assert job.url == f"{account['AZURE_BATCH_ENDPOINT']}/jobs/addresses"
    batch.begin_delete_job("addresses").wait()


def test_an_expired_secret_is_refused(
    credential: DefaultAzureCredential, order_flaw: Callable[[str], None]
) -> None:
    order_flaw("refused")
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000222"):
        credential.get_token(f"{BATCH}/.default")


def test_a_role_takes_effect_later(
    account: dict[str, str], credential: DefaultAzureCredential, order: Callable[..., None]
) -> None:
    order("role", seconds=3600)
    with (
        BatchClient(account["AZURE_BATCH_ENDPOINT"], credential) as batch,
        BlobServiceClient(account["AZURE_STORAGE_SERVICE_ENDPOINT"], credential) as blobs,
    ):
        assert refusal_of(batch.list_pools) == "403 AuthorizationFailure"
        assert refusal_of(blobs.list_containers) == "403 AuthorizationPermissionMismatch"
        order("role", seconds=0)
        until(lambda: not refusal_of(batch.list_pools) and not refusal_of(blobs.list_containers))


def test_a_sas_token_of_an_identity_without_a_role_is_refused(
    account: dict[str, str], credential: DefaultAzureCredential, order: Callable[..., None]
) -> None:
    now = datetime.now(UTC)
    with BlobServiceClient(account["AZURE_STORAGE_SERVICE_ENDPOINT"], credential) as service:
        key = service.get_user_delegation_key(now, now + timedelta(hours=1))
    token = generate_container_sas(
        account["AZURE_STORAGE_ACCOUNT"],
        "none",
        user_delegation_key=key,
        permission="l",
        expiry=now + timedelta(hours=1),
    )
    url = f"{account['AZURE_STORAGE_SERVICE_ENDPOINT']}/none?{token}"
    with ContainerClient.from_container_url(url) as container:
        assert refusal_of(container.list_blobs) == "404 ContainerNotFound"
        order("role", seconds=3600)
        assert refusal_of(container.list_blobs) == "403 AuthorizationPermissionMismatch"


def refusal_of(listing: Callable[[], Iterable[object]]) -> str:
    """Return the status and the code with which a listing is refused. Empty: it is not."""
    try:
        list(listing())
    except HttpResponseError as error:
        code = getattr(error, "error_code", None) or error.error.code
        return f"{error.status_code} {getattr(code, 'value', code)}"
    return ""


async def test_an_async_client_signs_in(account: dict[str, str]) -> None:
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.identity.aio import DefaultAzureCredential as AsyncCredential

    bundle = account["SSL_CERT_FILE"]  # aiohttp reads the variable only when it is imported
    async with (
        AsyncCredential(transport=AioHttpTransport(connection_verify=bundle)) as credential,
        AsyncBatchClient(
            account["AZURE_BATCH_ENDPOINT"], credential, connection_verify=bundle
        ) as batch,
    ):
        assert isinstance([pool async for pool in batch.list_pools()], list)


def ask(
    account: dict[str, str], *, tenant: str = "", path: str = "/oauth2/v2.0/token", **form: str
) -> tuple[int, str]:
    """Request a token without a client; return the status and the answer."""
    address = f"{account['AZURE_AUTHORITY_HOST']}/{tenant or account['AZURE_TENANT_ID']}"
    right = {
        "grant_type": "client_credentials",
        "client_id": account["AZURE_CLIENT_ID"],
        "client_secret": account["AZURE_CLIENT_SECRET"],
        "scope": f"{BATCH}/.default",
    }
    trusted = ssl.create_default_context(cafile=account["SSL_CERT_FILE"])
    answer = httpx.post(f"{address}{path}", data=right | form, verify=trusted, timeout=60)
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    ("form", "status", "number"),
    [
        ({"tenant": "other"}, 400, 90002),
        ({"grant_type": "password"}, 400, 70003),
        ({"client_id": "other"}, 400, 700016),
        ({"client_secret": "wrong"}, 401, 7000215),
        ({"client_secret": "ÿ"}, 401, 7000215),
        ({"scope": "https://vault.azure.net/.default"}, 400, 500011),
        ({"scope": BATCH}, 400, 1002012),
        ({"scope": "x" * 70_000}, 400, 900144),
    ],
)
def test_a_wrong_request_for_a_token_is_refused_with_its_error_number(
    form: dict[str, str], status: int, number: int, account: dict[str, str]
) -> None:
    answered, text = ask(account, **form)
    assert answered == status
    assert f"AADSTS{number}" in text
    assert account["AZURE_CLIENT_SECRET"] not in text


def claims_of(text: str) -> dict[str, Any]:
    token = json.loads(text)["access_token"]
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def test_a_client_of_version_1_gets_a_token_for_a_resource(account: dict[str, str]) -> None:
    status, text = ask(account, path="/oauth2/token?api-version=1.0", resource=BATCH)
    answer = json.loads(text)
    assert (status, answer["resource"], answer["token_type"]) == (200, BATCH, "Bearer")
    assert int(answer["expires_on"]) - int(answer["not_before"]) == TOKEN_SECONDS
    assert {type(value) for value in answer.values()} == {str}
    assert list_pools(account, answer["access_token"]) == (200, "")


@pytest.mark.parametrize("form", [{}, {"resource": "https://vault.azure.net"}])
def test_a_client_of_version_1_must_name_a_resource_of_the_tenant(
    form: dict[str, str], account: dict[str, str]
) -> None:
    status, text = ask(account, path="/oauth2/token", **form)
    assert (status, "AADSTS500011" in text) == (400, True)


def test_batch_refuses_a_token_for_its_name_without_the_slash(account: dict[str, str]) -> None:
    status, text = ask(account, scope=f"{BATCH}.default")
    assert (status, claims_of(text)["aud"]) == (200, BATCH.rstrip("/"))
    status, detail = list_pools(account, json.loads(text)["access_token"])
    assert (status, f"it must be for exactly '{BATCH}'" in detail) == (401, True)


@pytest.mark.parametrize("end", ["", "/"])
def test_resource_manager_accepts_a_token_for_its_name_with_and_without_the_slash(
    end: str, account: dict[str, str]
) -> None:
    _, text = ask(account, scope=f"{MANAGEMENT}{end}/.default")
    path = f"/subscriptions/{account['AZURE_SUBSCRIPTION_ID']}/providers/Microsoft.Batch"
    url = f"{account['AZURE_RESOURCE_MANAGER_ENDPOINT']}{path}/batchAccounts"
    headers = {"Authorization": f"Bearer {json.loads(text)['access_token']}"}
    query = {"api-version": "2025-06-01"}
    trusted = ssl.create_default_context(cafile=account["SSL_CERT_FILE"])
    assert httpx.get(url, params=query, headers=headers, verify=trusted).status_code == 200


def list_pools(account: dict[str, str], token: str) -> tuple[int, str]:
    """List the pools with a token; return the status and the detail of an error."""
    trusted = ssl.create_default_context(cafile=account["SSL_CERT_FILE"])
    url = f"{account['AZURE_BATCH_ENDPOINT']}/pools?api-version=2025-06-01"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, verify=trusted)
    values = answer.json().get("values", [])
    return answer.status_code, "".join(value["value"] for value in values)


def test_a_token_is_signed_by_the_key_that_is_published(account: dict[str, str]) -> None:
    status, text = ask(account)
    assert status == 200
    token = text.partition('"access_token":"')[2].partition('"')[0]
    address = f"{account['AZURE_AUTHORITY_HOST']}/{account['AZURE_TENANT_ID']}/discovery/v2.0/keys"
    trusted = ssl.create_default_context(cafile=account["SSL_CERT_FILE"])
    key = jwt.PyJWKClient(address, ssl_context=trusted).get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=BATCH)
    assert claims["tid"] == account["AZURE_TENANT_ID"]


def test_a_client_that_does_not_trust_the_certificate_is_not_answered(
    account: dict[str, str],
) -> None:
    strange = ssl.create_default_context(cafile=certifi.where())
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(account["AZURE_BATCH_ENDPOINT"], verify=strange)
