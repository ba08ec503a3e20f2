"""What errors of Azure's SDKs mean, and what to do about them."""

import re
from http import HTTPStatus
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from tasks.azure.api_errors import code_of
from tasks.errors import AccountError, ConvertError, SettingsError

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


def explain(error: AzureError) -> ConvertError:
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
