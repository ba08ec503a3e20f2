from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.identity import AzureCliCredential
from azure.storage.blob import BlobServiceClient

from local_azure.pytest_plugin import MACHINE
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.error_wording import explain, explain_sign_in
from tasks.azure.sign_in import TOKENS
from tasks.errors import SettingsError

WRONG_KEY = "d3Jvbmc="


def test_an_error_of_batch_names_its_code_and_the_remedy(batch: BatchClient) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        batch.get_job("none")
    error = explain(caught.value)
    assert error.problem == "Azure Batch refused a request: 404 JobNotFound."
    assert "endpoint" in error.remedy


def test_an_error_of_batch_names_the_property_that_is_wrong_and_why(batch: BatchClient) -> None:
    pool = models.BatchPoolCreateOptions(
        id="wrong",
        vm_size="Standard_D2ds_v5",
        virtual_machine_configuration=MACHINE,
        task_slots_per_node=16,
    )
    with pytest.raises(HttpResponseError) as caught:
        batch.create_pool(pool)
    assert explain(caught.value).problem == (
        "Azure Batch refused a request: 400 InvalidPropertyValue (PropertyName: taskSlotsPerNode,"
        " PropertyValue: 16, Reason: A node of size Standard_D2ds_v5 has 8 slots at most)."
    )


def test_an_error_of_storage_names_its_code(blobs: BlobServiceClient) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        blobs.get_container_client("nosuch").get_container_properties()
    assert explain(caught.value).problem == (
        "Azure Storage refused a request: 404 ContainerNotFound."
    )


@pytest.mark.accounts("key")
def test_the_error_about_a_wrong_key_says_what_to_check(account: dict[str, str]) -> None:
    wrong = AzureNamedKeyCredential(account["AZURE_BATCH_ACCOUNT"], WRONG_KEY)
    with (
        BatchClient(account["AZURE_BATCH_ENDPOINT"], wrong) as client,
        pytest.raises(HttpResponseError) as caught,
    ):
        client.get_job("none")
    assert str(explain(caught.value)).startswith(
        "Azure Batch refused a request: 403 AuthenticationFailed. Check the key"
    )


def test_the_error_about_a_missing_sign_in_says_how_to_sign_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClientAuthenticationError) as caught:
        AzureCliCredential().get_token("https://storage.azure.com/.default")
    error = explain(caught.value)
    assert isinstance(error, SettingsError)
    assert str(error).startswith(
        "You are not signed in to Azure, and no key is set. Run `az login`"
    )


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (
            "…\n\tAzureCliCredential: unavailable.\n\tAzureDeveloperCliCredential: not found.\n…",
            "You are not signed in to Azure, and no key is set.",
        ),
        (
            "…\n\tEnvironmentCredential: unavailable.\n\tAzureCliCredential: timed out\n…",
            "The sign-in with AzureCliCredential failed: timed out.",
        ),
        (
            "…\n\tAzureCliCredential: ERROR: AADSTS70043: The refresh token has expired.\nTrace …",
            "Microsoft Entra ID refused the sign-in: AADSTS70043: The refresh token has expired.",
        ),
    ],
)
def test_the_cause_of_a_failed_sign_in_is_found_in_the_credentials_message(
    message: str, problem: str
) -> None:
    assert explain_sign_in(message).problem == problem


FLAWS = [
    ("refused", "Batch", "Microsoft Entra ID refused the sign-in: AADSTS7000222", "az login"),
    ("expired", "Batch", "401 AuthenticationFailed (The token has expired).", "Sign in again"),
    ("early", "Batch", "401 AuthenticationFailed (The token is not valid yet).", "Sign in again"),
    ("audience", "Batch", "it must be for exactly 'https://batch", "AZURE_BATCH_RESOURCE"),
    ("issuer", "Batch", "the issuer must be 'https://sts", "az login --tenant"),
    ("signature", "Batch", "Signature verification failed", "Sign in again"),
    ("role", "Batch", "403 AuthorizationFailure.", "the role 'Azure Batch Data Contributor'"),
    ("expired", "Storage", "403 AuthenticationFailed.", "Sign in again"),
    ("audience", "Storage", "403 AuthenticationFailed.", "Sign in again"),
]


@pytest.mark.accounts("entra")
@pytest.mark.parametrize(("flaw", "service", "problem", "remedy"), FLAWS)
async def test_the_error_about_a_faulty_token_has_the_cause_and_the_remedy(
    flaw: str, service: str, problem: str, remedy: str, order: Any
) -> None:
    TOKENS.clear()
    order("token", flaw=flaw)
    with pytest.raises(AzureError) as caught:
        await send_request(service)
    TOKENS.clear()
    error = explain(caught.value)
    assert isinstance(error, SettingsError)
    assert problem in error.problem
    assert remedy in error.remedy


async def send_request(service: str) -> None:
    if service == "Batch":
        async with batch_client() as batch:
            await anext(batch.list_pools(), None)
    else:
        async with blob_service() as storage:
            await anext(storage.list_containers(), None)


@pytest.mark.accounts("entra")
async def test_an_unreachable_sign_in_is_named(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1")
    with pytest.raises(ClientAuthenticationError) as caught:
        await send_request("Batch")
    assert "cannot be reached: Cannot connect to host 127.0.0.1:1" in str(explain(caught.value))


def test_an_unreachable_service_is_named() -> None:
    key = AzureNamedKeyCredential("a", WRONG_KEY)
    with (
        BatchClient("http://127.0.0.1:1", key, retry_total=0) as client,
        pytest.raises(ServiceRequestError) as caught,
    ):
        client.get_job("none")
    assert "cannot be reached" in explain(caught.value).problem
