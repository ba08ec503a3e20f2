"""Clients of Batch and Blob Storage, signatures for the nodes, and what their errors mean.

The choice of the credential is the only branch between a laptop and Azure.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from azure.batch.aio import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import UserDelegationKey, generate_blob_sas, generate_container_sas
from azure.storage.blob.aio import BlobServiceClient, ExponentialRetry

from tasks.errors import AccountError
from tasks.settings import Accounts, load_accounts

TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
TIMEOUTS: Any = {"connection_timeout": 10, "read_timeout": 60}  # seconds
BLOCK_BYTES = 4 * 1024 * 1024  # what one connection of a transfer holds in memory
# The SDKs' own patience, one to two minutes for each request, is more than a stage's; see stage.py.
BATCH_RETRIES: Any = {"retry_total": 3, "retry_backoff_factor": 0.5}
BLOCKS: Any = {
    "max_single_put_size": BLOCK_BYTES,
    "max_block_size": BLOCK_BYTES,
    "max_single_get_size": BLOCK_BYTES,
    "max_chunk_get_size": BLOCK_BYTES,
}
CLOCK_SKEW = timedelta(minutes=15)

for noisy in ("azure", "urllib3", "aiohttp", "httpx", "httpcore", "msal"):
    logging.getLogger(noisy).setLevel(logging.WARNING)  # their INFO lines hold URLs with tokens


@asynccontextmanager
async def batch_client() -> AsyncIterator[BatchClient]:
    """A client of the configured Batch account, for as long as the block runs."""
    accounts = load_accounts()
    async with AsyncExitStack() as stack:
        credential: AzureNamedKeyCredential | AsyncTokenCredential
        if key := accounts.batch_key.get_secret_value():
            credential = AzureNamedKeyCredential(accounts.batch_account, key)
        else:
            credential = await stack.enter_async_context(sign_in())
        client = BatchClient(accounts.batch_endpoint, credential, **TIMEOUTS, **BATCH_RETRIES)
        yield await stack.enter_async_context(client)


@asynccontextmanager
async def blob_service() -> AsyncIterator[BlobServiceClient]:
    """A client of the configured storage account, for as long as the block runs."""
    accounts = load_accounts()
    async with AsyncExitStack() as stack:
        credential = None
        if not has_storage_key(accounts):
            credential = await stack.enter_async_context(sign_in())
        service = BlobServiceClient.from_connection_string(
            connection_string(accounts),
            credential=credential,
            # A policy belongs to one client: it is a link of that client's chain to the network.
            retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=3),
            **TIMEOUTS,
            **BLOCKS,
        )
        yield await stack.enter_async_context(service)


def sign_in() -> AsyncTokenCredential:
    """Microsoft Entra ID, by whatever of its many ways is set up."""
    from azure.identity.aio import DefaultAzureCredential  # takes half a second

    return DefaultAzureCredential()


def has_storage_key(accounts: Accounts) -> bool:
    connection = accounts.storage_connection_string.get_secret_value()
    return "AccountKey=" in connection or bool(accounts.storage_key.get_secret_value())


def connection_string(accounts: Accounts) -> str:
    """The storage account as a connection string: the SDK knows the public cloud's host."""
    if given := accounts.storage_connection_string.get_secret_value():
        return given
    parts = {"DefaultEndpointsProtocol": "https", "AccountName": accounts.storage_account}
    if accounts.storage_endpoint:
        parts["BlobEndpoint"] = accounts.storage_endpoint
    if key := accounts.storage_key.get_secret_value():
        parts["AccountKey"] = key
    return ";".join(f"{name}={value}" for name, value in parts.items())


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return error.status_code in TRANSIENT_STATUS
    if isinstance(error, ClientAuthenticationError):  # nobody is signed in
        return False
    # Without a status, an answer broke off.
    return isinstance(error, ServiceRequestError | ServiceResponseError | HttpResponseError)


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """Makes SAS tokens that end at `until`. Its tokens go to Azure and nowhere else."""

    endpoint: str  # https://account.blob…
    account: str
    until: datetime
    key: str | None
    delegation: UserDelegationKey | None

    def blob_url(self, container: str, blob: str) -> str:
        """A URL that reads one blob."""
        token = self._sign(
            generate_blob_sas, container_name=container, blob_name=blob, permission="r"
        )
        return f"{self.endpoint}/{container}/{quote(blob)}?{token}"

    def container_url(self, container: str) -> str:
        """A URL that writes blobs into one container, and neither reads nor lists them."""
        token = self._sign(generate_container_sas, container_name=container, permission="w")
        return f"{self.endpoint}/{container}?{token}"

    def _sign(self, generate: Callable[..., str], **what: str) -> str:
        return generate(
            account_name=self.account,
            account_key=self.key,
            user_delegation_key=self.delegation,
            expiry=self.until,
            **what,
        )


async def make_signer(service: BlobServiceClient, *, until: datetime) -> Signer:
    """A signer by the account's key, else by a user-delegation key of who is signed in."""
    key = getattr(service.credential, "account_key", None)
    delegation = None
    if key is None:
        delegation = await service.get_user_delegation_key(datetime.now(UTC) - CLOCK_SKEW, until)
    return Signer(
        endpoint=service.url.rstrip("/"),
        account=str(service.account_name),
        until=until,
        key=key,
        delegation=delegation,
    )


REMEDIES = {
    401: "Check the key or sign in again.",
    403: "Check the key, the account's name, the roles of who is signed in, and this clock.",
    404: "Check the account's endpoint and the names in the parameters.",
}
QUOTA = "Ask for more in the Azure portal, Quotas, or wait for other runs to end."


def explained(error: AzureError) -> AccountError:
    """An SDK's error as one that says which service it came from, and what to do."""
    if isinstance(error, ClientAuthenticationError) and error.status_code is None:
        said = error.message.strip().partition("\n")[0]
        return AccountError(f"Nobody is signed in to Azure: {said}", "Sign in, or set the keys.")
    if not isinstance(error, HttpResponseError):
        return AccountError(
            f"Azure cannot be reached: {error}.", "Check the endpoint and the network."
        )
    if error.status_code is None:
        return AccountError(f"An answer of Azure broke off: {error.message}.", "Run again.")
    service = "Storage" if hasattr(error, "error_code") else "Batch"
    code = code_of(error) or error.reason or ""
    remedy = REMEDIES.get(error.status_code, "Try again later, or look the code up.")
    return AccountError(
        f"Azure {service} refused a request: {error.status_code} {code}.",
        QUOTA if code.endswith("QuotaReached") else remedy,
    )


def code_of(error: HttpResponseError) -> str | None:
    """What Storage (by an enumeration) or Batch calls the error."""
    code = getattr(error, "error_code", None) or getattr(error.error, "code", None)
    return getattr(code, "value", code)
