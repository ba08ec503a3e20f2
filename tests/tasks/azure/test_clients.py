import logging
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import BlobServiceClient
from pydantic import SecretStr

from tasks.azure.clients import batch_client, blob_service, connection_string, has_storage_key
from tasks.azure.settings import Accounts


def accounts(**values: Any) -> Accounts:
    secret = {
        name: SecretStr(value) for name, value in values.items() if name.endswith(("key", "string"))
    }
    return Accounts.model_construct(**(values | secret))


def test_a_given_connection_string_is_used_unchanged() -> None:
    assert connection_string(accounts(storage_connection_string="given")) == "given"


def test_an_accounts_settings_make_a_connection_string() -> None:
    assert connection_string(accounts(storage_account="s")) == (
        "DefaultEndpointsProtocol=https;AccountName=s"
    )
    assert connection_string(
        accounts(storage_account="s", storage_endpoint="https://s.cn", storage_key="k")
    ) == ("DefaultEndpointsProtocol=https;AccountName=s;BlobEndpoint=https://s.cn;AccountKey=k")


def test_an_account_without_a_key_requires_a_sign_in() -> None:
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


async def test_the_configured_accounts_respond(
    batch: BatchClient, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    assert batch
    blobs.create_container(containers[0])
    async with batch_client() as client:
        assert isinstance([pool async for pool in client.list_pools()], list)
    async with blob_service() as service:
        assert await service.get_container_client(containers[0]).exists()


@pytest.mark.accounts("entra")
async def test_a_token_is_requested_for_the_configured_batch_resource(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account
    monkeypatch.setenv("AZURE_BATCH_RESOURCE", "https://batch.example/")
    with pytest.raises(ClientAuthenticationError, match="The resource 'https://batch"):
        async with batch_client() as client:
            await anext(client.list_pools(), None)


def test_the_sdks_do_not_log_their_urls() -> None:
    for name in ("azure.core.pipeline.policies.http_logging_policy", "aiohttp", "httpx"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
