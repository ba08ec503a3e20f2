import logging
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.identity import AzureCliCredential
from azure.storage.blob import BlobServiceClient
from pydantic import SecretStr

from tasks.azure.api_errors import is_transient
from tasks.azure.clients import batch_client, blob_service, connection_string, has_storage_key
from tasks.azure.error_wording import explain, not_signed_in
from tasks.azure.settings import Accounts
from tasks.azure.sign_in import TOKENS
from tasks.errors import SettingsError


def accounts(**values: Any) -> Accounts:
    secret = {
        name: SecretStr(value) for name, value in values.items() if name.endswith(("key", "string"))
    }
    return Accounts.model_construct(**(values | secret))


def test_a_connection_string_is_taken_as_it_is() -> None:
    assert connection_string(accounts(storage_connection_string="given")) == "given"


def test_an_account_makes_a_connection_string_with_what_it_has() -> None:
    assert connection_string(accounts(storage_account="s")) == (
        "DefaultEndpointsProtocol=https;AccountName=s"
    )
    assert connection_string(
        accounts(storage_account="s", storage_endpoint="https://s.cn", storage_key="k")
    ) == ("DefaultEndpointsProtocol=https;AccountName=s;BlobEndpoint=https://s.cn;AccountKey=k")


def test_an_account_without_a_key_is_one_to_sign_in_to() -> None:
    assert has_storage_key(accounts(storage_key="k"))
    assert has_storage_key(accounts(storage_connection_string="AccountName=s;AccountKey=k"))
    assert not has_storage_key(accounts(storage_account="s"))
    assert not has_storage_key(accounts(storage_connection_string="AccountName=s"))


async def test_the_public_clouds_host_comes_from_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_BATCH_ENDPOINT", "https://b.westeurope.batch.azure.com")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "canary")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    async with blob_service() as service:
        assert service.url == "https://canary.blob.core.windows.net/"


async def test_the_configured_accounts_answer(
    batch: BatchClient, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    assert batch
    blobs.create_container(containers[0])
    async with batch_client() as client:
        assert isinstance([pool async for pool in client.list_pools()], list)
    async with blob_service() as service:
        assert await service.get_container_client(containers[0]).exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServiceRequestError("no route"), True),
        (IncompleteReadError("broke off"), True),
        (ClientAuthenticationError("not signed in"), False),
        (ValueError("ours"), False),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, expected: bool) -> None:  # noqa: FBT001  a table
    assert is_transient(error) is expected


@pytest.mark.parametrize(
    ("status", "expected"), [(408, True), (429, True), (500, True), (503, True)]
)
async def test_a_busy_service_is_tried_again(
    order: Any, batch: BatchClient, status: int, *, expected: bool
) -> None:
    order("answer", status=status, operation="POST /jobs/none/terminate")
    with pytest.raises(HttpResponseError) as caught:
        batch.send_request(_terminate(), retry_total=0).raise_for_status()
    assert is_transient(caught.value) is expected


def _terminate() -> Any:
    from azure.core.rest import HttpRequest

    return HttpRequest("POST", "/jobs/none/terminate?api-version=2025-06-01", json={})


def test_a_refusal_of_batch_names_its_code_and_the_remedy(batch: BatchClient) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        batch.get_job("none")
    assert not is_transient(caught.value)
    error = explain(caught.value)
    assert error.problem == "Azure Batch refused a request: 404 JobNotFound."
    assert "endpoint" in error.remedy


def test_a_refusal_of_storage_names_its_code(blobs: BlobServiceClient) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        blobs.get_container_client("nosuch").get_container_properties()
    assert explain(caught.value).problem == (
        "Azure Storage refused a request: 404 ContainerNotFound."
    )


@pytest.mark.accounts("key")
def test_a_key_that_is_wrong_is_told_by_what_to_check(account: dict[str, str]) -> None:
    from azure.core.credentials import AzureNamedKeyCredential

    wrong = AzureNamedKeyCredential(account["AZURE_BATCH_ACCOUNT"], "d3Jvbmc=")
    with (
        BatchClient(account["AZURE_BATCH_ENDPOINT"], wrong) as client,
        pytest.raises(HttpResponseError) as caught,
    ):
        client.get_job("none")
    assert str(explain(caught.value)).startswith(
        "Azure Batch refused a request: 403 AuthenticationFailed. Check the key"
    )


def test_who_is_not_signed_in_is_told_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClientAuthenticationError) as caught:
        AzureCliCredential().get_token("https://storage.azure.com/.default")
    told = explain(caught.value)
    assert isinstance(told, SettingsError)
    assert str(told).startswith("Nobody is signed in to Azure, and no key is set. Run `az login`")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "…\n\tAzureCliCredential: unavailable.\n\tAzureDeveloperCliCredential: not found.\n…",
            "Nobody is signed in to Azure, and no key is set.",
        ),
        (
            "…\n\tEnvironmentCredential: unavailable.\n\tAzureCliCredential: timed out\n…",
            "The sign-in by AzureCliCredential failed: timed out.",
        ),
        (
            "…\n\tAzureCliCredential: ERROR: AADSTS70043: The refresh token has expired.\nTrace …",
            "Microsoft Entra ID refused the sign-in: AADSTS70043: The refresh token has expired.",
        ),
    ],
)
def test_what_went_wrong_with_a_sign_in_is_found_in_what_the_credential_says(
    said: str, told: str
) -> None:
    assert not_signed_in(said).problem == told


FLAWS = [
    ("refused", "Batch", "Microsoft Entra ID refused the sign-in: AADSTS7000222", "az login"),
    ("expired", "Batch", "401 AuthenticationFailed (The token has expired).", "Sign in again"),
    ("early", "Batch", "401 AuthenticationFailed (The token is not valid yet).", "Sign in again"),
    ("audience", "Batch", "it must be for 'https://batch", "AZURE_BATCH_RESOURCE"),
    ("issuer", "Batch", "it must be by 'https://sts", "az login --tenant"),
    ("signature", "Batch", "Signature verification failed", "Sign in again"),
    ("role", "Batch", "403 AuthorizationFailure.", "the role 'Azure Batch Data Contributor'"),
    ("expired", "Storage", "403 AuthenticationFailed.", "Sign in again"),
    ("audience", "Storage", "403 AuthenticationFailed.", "Sign in again"),
]


@pytest.mark.accounts("entra")
@pytest.mark.parametrize(("flaw", "service", "problem", "remedy"), FLAWS)
async def test_a_sign_in_that_does_not_do_is_told_with_its_cause_and_the_remedy(
    flaw: str, service: str, problem: str, remedy: str, order: Any
) -> None:
    TOKENS.clear()
    order("token", flaw=flaw)
    with pytest.raises(AzureError) as caught:
        await use(service)
    TOKENS.clear()
    error = explain(caught.value)
    assert isinstance(error, SettingsError)
    assert problem in error.problem
    assert remedy in error.remedy


async def use(service: str) -> None:
    if service == "Batch":
        async with batch_client() as batch:
            await anext(batch.list_pools(), None)
    else:
        async with blob_service() as storage:
            await anext(storage.list_containers(), None)


@pytest.mark.accounts("entra")
async def test_a_sign_in_that_cannot_be_reached_is_told(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1")
    with pytest.raises(ClientAuthenticationError) as caught:
        await use("Batch")
    assert "cannot be reached: Cannot connect to host 127.0.0.1:1" in str(explain(caught.value))


@pytest.mark.accounts("entra")
async def test_another_cloud_has_another_batch_to_ask_a_token_for(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account
    monkeypatch.setenv("AZURE_BATCH_RESOURCE", "https://batch.example/")
    with pytest.raises(ClientAuthenticationError, match="no resource 'https://batch"):
        await use("Batch")


def test_a_service_that_is_not_there_cannot_be_reached() -> None:
    from azure.core.credentials import AzureNamedKeyCredential

    nobody = AzureNamedKeyCredential("a", "d3Jvbmc=")
    with (
        BatchClient("http://127.0.0.1:1", nobody, retry_total=0) as client,
        pytest.raises(ServiceRequestError) as caught,
    ):
        client.get_job("none")
    assert "cannot be reached" in explain(caught.value).problem


def test_the_sdks_do_not_log_their_urls() -> None:
    for name in ("azure.core.pipeline.policies.http_logging_policy", "aiohttp", "httpx"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
