"""Clients of Batch and Blob Storage, and what their errors mean.

The choice of the credential is the only branch between a laptop and Azure.
"""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from azure.batch.aio import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob.aio import BlobServiceClient, ExponentialRetry

from tasks.azure.settings import Accounts, load_accounts
from tasks.azure.sign_in import SignIn
from tasks.azure.transport import opened_transport
from tasks.errors import AccountError, ConvertError, SettingsError

TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
BLOCK_BYTES = 4 * 1024 * 1024  # what one connection of a transfer holds in memory
CONNECTIONS = 2  # for one file that goes up; memory is this times the files at once times a block
PUT_BYTES = CONNECTIONS * BLOCK_BYTES  # what is smaller goes up in one request
# The SDKs' own patience, one to two minutes for each request, is more than a stage's; see stage.py.
BATCH_RETRIES: Any = {"retry_total": 3, "retry_backoff_factor": 0.5}
BLOCKS: Any = {
    "max_single_put_size": PUT_BYTES,
    "max_block_size": BLOCK_BYTES,
    "max_single_get_size": BLOCK_BYTES,
    "max_chunk_get_size": BLOCK_BYTES,
}

for noisy in ("azure", "urllib3", "aiohttp", "httpx", "httpcore", "msal"):
    logging.getLogger(noisy).setLevel(logging.WARNING)  # their INFO lines hold URLs with tokens
logging.getLogger("azure.identity").setLevel(logging.ERROR)  # a failed sign-in is told by an error


@asynccontextmanager
async def batch_client() -> AsyncIterator[BatchClient]:
    """A client of the configured Batch account, for as long as the block runs."""
    accounts = load_accounts()
    key, options = accounts.batch_key.get_secret_value(), BATCH_RETRIES
    if accounts.batch_resource:
        options = options | {"credential_scopes": [f"{accounts.batch_resource}/.default"]}
    async with (
        opened_transport() as transport,
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
    """A client of the configured storage account, for as long as the block runs."""
    accounts = load_accounts()
    async with (
        opened_transport() as transport,
        BlobServiceClient.from_connection_string(
            connection_string(accounts),
            credential=None if has_storage_key(accounts) else SignIn(),
            # A policy belongs to one client: it is a link of that client's chain to the network.
            retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=3),
            transport=transport,
            **BLOCKS,
        ) as service,
    ):
        yield service


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


GONE = ("JobNotFound", "JobBeingDeleted", "PoolNotFound")


def is_gone(error: HttpResponseError) -> bool:
    """Whether somebody has deleted the run's job or its pool."""
    return code_of(error) in GONE


ROLES = {"Batch": "Azure Batch Data Contributor", "Storage": "Storage Blob Data Contributor"}
REMEDIES = {
    401: "Check the key.",
    403: "Check the key, the account's name, its firewall, and this clock.",
    404: "Check the account's endpoint and the names in the parameters.",
}
SIGN_IN = (
    "Run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or the"
    " accounts' keys."
)
AUTHORITY = "Check the network, AZURE_AUTHORITY_HOST and SSL_CERT_FILE."
TENANT = (
    "Sign in again, to the account's own tenant (`az login --tenant …`, AZURE_TENANT_ID); in a"
    " cloud that is not the public one, set AZURE_AUTHORITY_HOST and AZURE_BATCH_RESOURCE."
)
ROLE = (
    "Give who is signed in the role '{}' on the account (a new role takes some minutes), and check"
    " the account's firewall."
)
LAST_TRIED = ("AzureDeveloperCliCredential", "BrokerCredential")
QUOTA = "Ask for more in the Azure portal, Quotas, or wait for other runs to end."
DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def explained(error: AzureError) -> ConvertError:
    """An SDK's error as one that says which service it came from, and what to do."""
    if isinstance(error, ClientAuthenticationError) and error.status_code is None:
        return not_signed_in(error.message)
    if not isinstance(error, HttpResponseError):
        return AccountError(
            f"Azure cannot be reached: {error}.", "Check the endpoint and the network."
        )
    if error.status_code is None:
        return AccountError(f"An answer of Azure broke off: {error.message}.", "Run again.")
    service = "Storage" if hasattr(error, "error_code") else "Batch"
    code = code_of(error) or error.reason or ""
    problem = f"Azure {service} refused a request: {error.status_code} {code}."
    if error.status_code in DENIED:
        return denied(error, problem, service)
    usual = REMEDIES.get(error.status_code, "Try again later, or look the code up.")
    return AccountError(problem, QUOTA if code.endswith("QuotaReached") else usual)


def not_signed_in(said: str) -> ConvertError:
    """Out of what the credential says of all the ways that it has tried."""
    tried = re.findall(r"^\t(\w+): (.*)", said, re.MULTILINE)
    if refused := re.search(r"AADSTS\d+: [^\n]*", said):
        words = refused[0].removesuffix("'").rstrip(".")
        return SettingsError(f"Microsoft Entra ID refused the sign-in: {words}.", SIGN_IN)
    if unreached := re.search(r"Cannot connect to [^\n]*", said):
        return AccountError(f"Microsoft Entra ID cannot be reached: {unreached[0]}.", AUTHORITY)
    if tried and tried[-1][0] not in LAST_TRIED:  # it did not go on: this one should have worked
        return SettingsError(f"The sign-in by {tried[-1][0]} failed: {tried[-1][1]}.", SIGN_IN)
    return SettingsError("Nobody is signed in to Azure, and no key is set.", SIGN_IN)


def denied(error: HttpResponseError, problem: str, service: str) -> SettingsError:
    """Where a key was refused, or else who is signed in."""
    request: Any = error.response.request if error.response else None
    headers = getattr(request, "headers", {})
    if not headers.get("Authorization", "").startswith("Bearer "):
        return SettingsError(problem, REMEDIES[error.status_code or 0])
    is_unbelieved = (code_of(error) or "").startswith("Authentication")
    if error.status_code == HTTPStatus.FORBIDDEN and not is_unbelieved:
        return SettingsError(problem, ROLE.format(ROLES[service]))
    detail = f" ({said})." if (said := detail_of(error).rstrip(".")) else "."
    return SettingsError(problem.rstrip(".") + detail, TENANT)


def detail_of(error: HttpResponseError) -> str:
    """Why Batch, or Storage, does not believe a token, where it says so."""
    values = getattr(error.model, "error_values", None) or ()
    details = {value.key: value.value for value in values} | getattr(error, "additional_info", {})
    return str(details.get("AuthenticationErrorDetail") or "")


def code_of(error: HttpResponseError) -> str | None:
    """What Storage (by an enumeration) or Batch calls the error."""
    code = getattr(error, "error_code", None) or getattr(error.error, "code", None)
    return getattr(code, "value", code)
