"""The wording of errors of Azure's SDKs: the problem and the remedy."""

import re
from http import HTTPStatus
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from tasks.azure.api_errors import RefreshFailedError, code_of, is_of_storage
from tasks.azure.explanations import is_quota_error, join_details
from tasks.errors import AccountError, ConvertError, SettingsError

ROLES = {"Batch": "Azure Batch Data Contributor", "Storage": "Storage Blob Data Contributor"}
REMEDIES = {
    401: "Check the key.",
    403: "Check the key, the account's name, its firewall, and this machine's clock.",
    404: "Check the account's endpoint and the names in the parameters.",
}
SIGN_IN = (
    "Run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or set the"
    " accounts' keys."
)
AUTHORITY = "Check the network, AZURE_AUTHORITY_HOST and SSL_CERT_FILE."
TENANT = (
    "Sign in again to the account's own tenant (`az login --tenant …` or AZURE_TENANT_ID). Outside"
    " the public cloud, also set AZURE_AUTHORITY_HOST and AZURE_BATCH_RESOURCE."
)
ROLE = (
    "Assign the role '{}' on the account to the signed-in identity (a new role takes effect after"
    " some minutes), and check the account's firewall."
)
LAST_TRIED = ("AzureDeveloperCliCredential", "BrokerCredential")
QUOTA = "Request a higher quota in the Azure portal (Quotas), or wait for other runs to end."
DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def explain(error: AzureError) -> ConvertError:
    """Return an error that names the service and the remedy."""
    if isinstance(error, RefreshFailedError):
        return AccountError(error.message, "Run again, after `az login` if you use the Azure CLI.")
    if isinstance(error, ClientAuthenticationError) and error.status_code is None:
        return explain_sign_in(error.message)
    if not isinstance(error, HttpResponseError):
        return AccountError(
            f"Azure cannot be reached: {error}.", "Check the endpoint and the network."
        )
    if error.status_code is None:
        return AccountError(f"A response from Azure was cut off: {error.message}.", "Run again.")
    service = "Storage" if is_of_storage(error) else "Batch"
    code = code_of(error) or error.reason or ""
    problem = f"Azure {service} refused a request: {error.status_code} {code}."
    if error.status_code in DENIED:
        return explain_denial(error, problem, service)
    problem = with_detail(problem, join_details(details_by_name(error).items()))
    usual = REMEDIES.get(
        error.status_code, "Try again later, or look up the code in Azure's documentation."
    )
    return AccountError(problem, QUOTA if is_quota_error(code) else usual)


def explain_sign_in(message: str) -> ConvertError:
    """Explain a failed sign-in. The credential's message lists the methods that it tried."""
    tried = re.findall(r"^\t(\w+): (.*)", message, re.MULTILINE)
    if refused := re.search(r"AADSTS\d+: [^\n]*", message):
        reason = refused[0].removesuffix("'").rstrip(".")
        return SettingsError(f"Microsoft Entra ID refused the sign-in: {reason}.", SIGN_IN)
    if unreached := re.search(r"Cannot connect to [^\n]*", message):
        return AccountError(f"Microsoft Entra ID cannot be reached: {unreached[0]}.", AUTHORITY)
    if tried and tried[-1][0] not in LAST_TRIED:  # the last method is configured but failed
        return SettingsError(f"The sign-in with {tried[-1][0]} failed: {tried[-1][1]}.", SIGN_IN)
    return SettingsError("You are not signed in to Azure, and no key is set.", SIGN_IN)


def explain_denial(error: HttpResponseError, problem: str, service: str) -> SettingsError:
    """Explain why a key or a signed-in identity was refused."""
    request: Any = error.response.request if error.response else None
    headers = getattr(request, "headers", {})
    if not headers.get("Authorization", "").startswith("Bearer "):
        return SettingsError(problem, REMEDIES[error.status_code or 0])
    is_token_invalid = (code_of(error) or "").lower().startswith("authentication")
    if error.status_code == HTTPStatus.FORBIDDEN and not is_token_invalid:
        return SettingsError(problem, ROLE.format(ROLES[service]))
    reason = details_by_name(error).get("AuthenticationErrorDetail") or ""
    return SettingsError(with_detail(problem, reason.rstrip(".")), TENANT)


def with_detail(problem: str, detail: str) -> str:
    return f"{problem.rstrip('.')} ({detail})." if detail else problem


def details_by_name(error: HttpResponseError) -> dict[str, str]:
    """Return what the service says about an error, beyond its code. Storage's is in attributes."""
    values = getattr(error.model, "error_values", None) or ()
    details = {value.key: value.value for value in values} | getattr(error, "additional_info", {})
    return {name: str(value or "") for name, value in details.items()}
