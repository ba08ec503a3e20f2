"""Clients of Batch and Blob Storage.

The credential is the only difference between a laptop and Azure.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from azure.batch.aio import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob.aio import BlobServiceClient, ExponentialRetry

from tasks.azure.settings import Accounts, load_accounts
from tasks.azure.sign_in import SignIn
from tasks.azure.transport import open_transport

BLOCK_BYTES = 4 * 1024 * 1024  # that one connection of a transfer holds in memory
CONNECTIONS = 2  # per upload; uploads take CONNECTIONS * uploads_at_once * BLOCK_BYTES of memory
PUT_BYTES = CONNECTIONS * BLOCK_BYTES  # smaller files are uploaded in one request
# The SDKs' own retries take one to two minutes per request, longer than the retries in stage.py.
BATCH_RETRIES: Any = {"retry_total": 3, "retry_backoff_factor": 0.5}
STORAGE_RETRIES: Any = {"retry_total": 3, "initial_backoff": 1, "increment_base": 2}
BLOCKS: Any = {
    "max_single_put_size": PUT_BYTES,
    "max_block_size": BLOCK_BYTES,
    "max_single_get_size": BLOCK_BYTES,
    "max_chunk_get_size": BLOCK_BYTES,
}

for noisy in ("azure", "urllib3", "aiohttp", "httpx", "httpcore", "msal"):
    logging.getLogger(noisy).setLevel(logging.WARNING)  # their INFO lines contain URLs with tokens
logging.getLogger("azure.identity").setLevel(logging.ERROR)  # a failed sign-in raises an error


@asynccontextmanager
async def batch_client() -> AsyncIterator[BatchClient]:
    """Yield a client of the configured Batch account, which is closed after the block."""
    accounts = load_accounts()
    key, options = accounts.batch_key.get_secret_value(), BATCH_RETRIES
    if accounts.batch_resource:
        options = options | {"credential_scopes": [f"{accounts.batch_resource}/.default"]}
    async with (
        open_transport() as transport,
        BatchClient(
            accounts.batch_endpoint,
            AzureNamedKeyCredential(accounts.batch_account, key) if key else SignIn(),
            transport=transport,
            **options,
        ) as client,
    ):
        yield client


@asynccontextmanager
async def blob_service() -> AsyncIterator[BlobServiceClient]:
    """Yield a client of the configured storage account, which is closed after the block."""
    accounts = load_accounts()
    async with (
        open_transport() as transport,
        BlobServiceClient.from_connection_string(
            connection_string(accounts),
            credential=None if has_storage_key(accounts) else SignIn(),
            # A policy belongs to one client: the client links it into its own pipeline.
            retry_policy=ExponentialRetry(**STORAGE_RETRIES),
            transport=transport,
            **BLOCKS,
        ) as service,
    ):
        yield service


def has_storage_key(accounts: Accounts) -> bool:
    connection = accounts.storage_connection_string.get_secret_value()
    return "AccountKey=" in connection or bool(accounts.storage_key.get_secret_value())


def connection_string(accounts: Accounts) -> str:
    """Return the storage account as a connection string. The SDK adds the public cloud's host."""
    if given := accounts.storage_connection_string.get_secret_value():
        return given
    parts = {"DefaultEndpointsProtocol": "https", "AccountName": accounts.storage_account}
    if accounts.storage_endpoint:
        parts["BlobEndpoint"] = accounts.storage_endpoint
    if key := accounts.storage_key.get_secret_value():
        parts["AccountKey"] = key
    return ";".join(f"{name}={value}" for name, value in parts.items())
