"""The check of the account's quotas and the region's VM sizes, with Azure's management API.

It requires the extra `quota`, AZURE_SUBSCRIPTION_ID and a sign-in with a role that can read the
subscription. Without them, the check says what is missing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, HttpResponseError
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.azure.api_errors import code_of
from tasks.azure.error_wording import explain
from tasks.azure.explanations import of_code
from tasks.azure.settings import ENV_FILE, load_accounts
from tasks.azure.sign_in import SignIn
from tasks.azure.transport import open_transport
from tasks.models import Check
from tasks.parameters import Pool

if TYPE_CHECKING:
    from azure.mgmt.batch.models import BatchAccount, SupportedSku

REMEDIES = {
    "AuthorizationFailed": "Assign the role 'Reader' on the subscription to the signed-in"
    " identity.",
    "InvalidSubscriptionId": "Check AZURE_SUBSCRIPTION_ID.",
    "SubscriptionNotFound": "Check AZURE_SUBSCRIPTION_ID.",
}


class Management(BaseSettings):
    """The settings of the management API."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE, extra="ignore", frozen=True, env_ignore_empty=True
    )

    subscription: str = Field("", validation_alias="AZURE_SUBSCRIPTION_ID")
    endpoint: str = Field("", validation_alias="AZURE_RESOURCE_MANAGER_ENDPOINT")


async def check_quota(pool: Pool) -> Check:
    """Check that the region offers the VM size and that the quota allows at least one node."""
    if pool.id:
        return Check("quota", detail="Not checked for a shared pool.")
    management = Management()
    if not management.subscription:
        return unchecked("This check requires AZURE_SUBSCRIPTION_ID and a sign-in.")
    try:
        import azure.mgmt.batch  # noqa: F401  an extra
    except ImportError:
        return unchecked("This check requires an extra: pip install 'batch-convert[quota]'.")
    try:
        account, sizes = await look_up(management, pool.vm_size)
    except AzureError as error:
        return explain_failure(error)
    if account is None:
        return unchecked("The Batch account is not in AZURE_SUBSCRIPTION_ID.")
    return check_size(sizes, pool) or check_cores(account, sizes, pool)


def unchecked(reason: str, remedy: str = "") -> Check:
    return Check("quota", "unchecked", reason, remedy)


def explain_failure(error: AzureError) -> Check:
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return unchecked(explain(error).problem)  # not from Resource Manager
    code = code_of(error) or error.reason or ""
    problem = f"Azure Resource Manager refused a request: {error.status_code} {code}."
    return unchecked(problem, of_code(REMEDIES, code) or "")


async def look_up(
    management: Management, vm_size: str
) -> tuple["BatchAccount | None", list["SupportedSku"]]:
    """Return the configured account, and the VM size if its region offers it."""
    from azure.mgmt.batch.aio import BatchManagementClient

    place = urlsplit(load_accounts().batch_endpoint)
    async with (
        open_transport() as transport,
        BatchManagementClient(
            SignIn(),
            management.subscription,
            management.endpoint or None,
            transport=transport,
        ) as client,
    ):
        async for account in client.batch_account.list():
            if account.account_endpoint in (place.hostname, place.netloc):
                offered = client.location.list_supported_virtual_machine_skus(account.location)
                return account, [sku async for sku in offered if is_same(sku, vm_size)]
    return None, []


def is_same(sku: "SupportedSku", vm_size: str) -> bool:
    return (sku.name or "").lower() == vm_size.lower()


def check_size(sizes: Sequence["SupportedSku"], pool: Pool) -> Check | None:
    if sizes:
        return None
    return Check(
        "quota",
        "failed",
        f"This region does not offer {pool.vm_size} to Batch.",
        "Choose another --pool.vm-size.",
    )


def check_cores(account: "BatchAccount", sizes: Sequence["SupportedSku"], pool: Pool) -> Check:
    """Check the quota. Too few cores for all nodes are a warning, too few for one an error."""
    cores = cores_of(sizes[0])
    fallback_nodes = pool.spot_nodes if pool.fallback_minutes else 0
    needed = {
        "Spot": (pool.spot_nodes, account.low_priority_core_quota),
        "dedicated": (pool.dedicated_nodes + fallback_nodes, dedicated_quota(account, sizes[0])),
    }
    small_quotas = [
        f"{quota} {kind} cores"
        for kind, (nodes, quota) in needed.items()
        if nodes and quota is not None and quota < nodes * cores
    ]
    possible = [quota is None or quota >= cores for nodes, quota in needed.values() if nodes]
    if not small_quotas:
        return Check("quota")
    quotas = " and ".join(small_quotas)
    detail = f"The account's quota is {quotas}; one {pool.vm_size} node uses {cores}."
    if any(possible):
        return Check("quota", detail=f"{detail} The pool will have fewer nodes.")
    return Check("quota", "failed", detail, "Request a higher quota in the Azure portal (Quotas).")


def cores_of(size: "SupportedSku") -> int:
    found = [c.value for c in size.capabilities or () if c.name == "vCPUs"]
    return int(found[0] or 1) if found else 1


def dedicated_quota(account: "BatchAccount", size: "SupportedSku") -> int | None:
    """Return the quota of the size's family, or the total if the account has none per family."""
    if not account.dedicated_core_quota_per_vm_family_enforced:
        total: int | None = account.dedicated_core_quota
        return total
    families = account.dedicated_core_quota_per_vm_family or ()
    return next((int(f.core_quota or 0) for f in families if f.name == size.family_name), 0)
