import logging
from datetime import UTC, datetime, timedelta
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
from azure.identity import AzureCliCredential
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient
from pydantic import SecretStr

from tasks.clients import (
    Signer,
    batch_client,
    blob_service,
    connection_string,
    explained,
    has_storage_key,
    is_transient,
    make_signer,
)
from tasks.settings import Accounts


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


async def a_signer() -> Signer:
    async with blob_service() as service:
        return await make_signer(service, until=datetime.now(UTC) + timedelta(minutes=1))


async def test_a_signed_blob_can_be_read_and_neither_written_nor_its_neighbours_read(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    name = "talks/it's é #1?%.mp4"
    container.upload_blob(name, b"media")
    container.upload_blob("other", b"media")
    url = (await a_signer()).blob_url(containers[0], name)
    with BlobClient.from_blob_url(url) as blob:
        assert blob.download_blob().readall() == b"media"
        with pytest.raises(HttpResponseError):
            blob.upload_blob(b"more", overwrite=True)
    _, _, token = url.partition("?")
    other = f"{container.url}/other?{token}"
    with BlobClient.from_blob_url(other) as blob, pytest.raises(HttpResponseError):
        blob.download_blob()


async def test_a_signed_container_can_be_written_and_neither_read_nor_listed(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    url = (await a_signer()).container_url(containers[0])
    with ContainerClient.from_container_url(url) as client:
        client.upload_blob("a.mp3", b"media", overwrite=True)
        with pytest.raises(HttpResponseError):
            client.download_blob("a.mp3")
        with pytest.raises(HttpResponseError):
            list(client.list_blob_names())
    assert list(container.list_blob_names()) == ["a.mp3"]


async def test_a_signer_does_not_show_its_key(account: dict[str, str]) -> None:
    assert account
    signer = await a_signer()
    assert signer.key
    assert signer.key not in repr(signer)


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
    error = explained(caught.value)
    assert error.problem == "Azure Batch refused a request: 404 JobNotFound."
    assert "endpoint" in error.remedy


def test_a_refusal_of_storage_names_its_code(blobs: BlobServiceClient) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        blobs.get_container_client("nosuch").get_container_properties()
    assert explained(caught.value).problem == (
        "Azure Storage refused a request: 404 ContainerNotFound."
    )


def test_a_key_that_is_wrong_is_told_by_what_to_check(account: dict[str, str]) -> None:
    from azure.core.credentials import AzureNamedKeyCredential

    wrong = AzureNamedKeyCredential(account["AZURE_BATCH_ACCOUNT"], "d3Jvbmc=")
    with (
        BatchClient(account["AZURE_BATCH_ENDPOINT"], wrong) as client,
        pytest.raises(HttpResponseError) as caught,
    ):
        client.get_job("none")
    assert str(explained(caught.value)).startswith(
        "Azure Batch refused a request: 403 AuthenticationFailed. Check the key"
    )


def test_who_is_not_signed_in_is_told_to_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClientAuthenticationError) as caught:
        AzureCliCredential().get_token("https://storage.azure.com/.default")
    assert str(explained(caught.value)) == (
        "Nobody is signed in to Azure: Azure CLI not found on path Sign in, or set the keys."
    )


def test_a_service_that_is_not_there_cannot_be_reached() -> None:
    from azure.core.credentials import AzureNamedKeyCredential

    nobody = AzureNamedKeyCredential("a", "d3Jvbmc=")
    with (
        BatchClient("http://127.0.0.1:1", nobody, retry_total=0) as client,
        pytest.raises(ServiceRequestError) as caught,
    ):
        client.get_job("none")
    assert "cannot be reached" in explained(caught.value).problem


def test_the_sdks_do_not_log_their_urls() -> None:
    for name in ("azure.core.pipeline.policies.http_logging_policy", "aiohttp", "httpx"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
