"""The account's quotas and the region's VM sizes: only Azure's management API tells them.

It needs the extra `quota`, AZURE_SUBSCRIPTION_ID and a sign-in with a role that reads the
subscription; without, the check says what it lacks.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, HttpResponseError
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.azure.api_errors import code_of
from tasks.azure.error_wording import explain
from tasks.azure.settings import ENV_FILE, load_accounts
from tasks.azure.sign_in import SignIn
from tasks.azure.transport import opened_transport
from tasks.models import Check
from tasks.parameters import Pool

if TYPE_CHECKING:
    from azure.mgmt.batch.models import BatchAccount, SupportedSku

REMEDIES = {
    "AuthorizationFailed": "Give who is signed in the role 'Reader' on the subscription.",
    "InvalidSubscriptionId": "Check AZURE_SUBSCRIPTION_ID.",
    "SubscriptionNotFound": "Check AZURE_SUBSCRIPTION_ID.",
}


class Management(BaseSettings):
    """Where the management API is."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE, extra="ignore", frozen=True, env_ignore_empty=True
    )

    subscription: str = Field("", validation_alias="AZURE_SUBSCRIPTION_ID")
    endpoint: str = Field("", validation_alias="AZURE_RESOURCE_MANAGER_ENDPOINT")


async def check_quota(pool: Pool) -> Check:
    """Whether the region offers the VM size, and the account may have one node at least."""
    if pool.id:
        return Check("quota", detail="The shared pool has what it has.")
    management = Management()
    if not management.subscription:
        return unknown("It needs AZURE_SUBSCRIPTION_ID and a sign-in.")
    try:
        import azure.mgmt.batch  # noqa: F401  an extra
    except ImportError:
        return unknown("It needs the extra: pip install 'batch-convert[quota]'.")
    try:
        account, sizes = await look_up(management, pool.vm_size)
    except AzureError as error:
        return unanswered(error)
    if account is None:
        return unknown("The Batch account is not in AZURE_SUBSCRIPTION_ID.")
    return judge_size(sizes, pool) or judge_cores(account, sizes, pool)


def unknown(why: str, remedy: str = "") -> Check:
    return Check("quota", "unchecked", why, remedy)


def unanswered(error: AzureError) -> Check:
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return unknown(explain(error).problem)  # before or after Resource Manager
    code = code_of(error) or error.reason or ""
    problem = f"Azure Resource Manager refused a request: {error.status_code} {code}."
    return unknown(problem, REMEDIES.get(code, ""))


async def look_up(
    management: Management, vm_size: str
) -> tuple["BatchAccount | None", list["SupportedSku"]]:
    """The configured account, and what its region offers under the name of this size."""
    from azure.mgmt.batch.aio import BatchManagementClient

    place = urlsplit(load_accounts().batch_endpoint)
    async with (
        opened_transport() as transport,
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
                same = [sku async for sku in offered if is_same(sku, vm_size)]
                return account, same
    return None, []


def is_same(sku: "SupportedSku", vm_size: str) -> bool:
    return (sku.name or "").lower() == vm_size.lower()


def judge_size(sizes: Sequence["SupportedSku"], pool: Pool) -> Check | None:
    if sizes:
        return None
    return Check(
        "quota",
        "failed",
        f"This region does not offer {pool.vm_size} to Batch.",
        "Choose another --pool.vm-size.",
    )


def judge_cores(account: "BatchAccount", sizes: Sequence["SupportedSku"], pool: Pool) -> Check:
    """A quota that is too small for all nodes makes a run slow; for the first, impossible."""
    cores = cores_of(sizes[0])
    stand_ins = pool.spot_nodes if pool.fallback_minutes else 0
    wanted = {
        "Spot": (pool.spot_nodes, account.low_priority_core_quota),
        "dedicated": (pool.dedicated_nodes + stand_ins, dedicated_quota(account, sizes[0])),
    }
    told = [
        f"{quota} {kind} cores"
        for kind, (nodes, quota) in wanted.items()
        if nodes and quota is not None and quota < nodes * cores
    ]
    possible = [quota is None or quota >= cores for nodes, quota in wanted.values() if nodes]
    if not told:
        return Check("quota")
    detail = f"The account may have {' and '.join(told)}; a {pool.vm_size} has {cores}."
    if any(possible):
        return Check("quota", detail=f"{detail} There will be fewer nodes.")
    return Check("quota", "failed", detail, "Ask for more in the Azure portal (Quotas).")


def cores_of(size: "SupportedSku") -> int:
    found = [c.value for c in size.capabilities or () if c.name == "vCPUs"]
    return int(found[0] or 1) if found else 1


def dedicated_quota(account: "BatchAccount", size: "SupportedSku") -> int | None:
    """Of the size's family, where the account has one for each."""
    if not account.dedicated_core_quota_per_vm_family_enforced:
        whole: int | None = account.dedicated_core_quota
        return whole
    families = account.dedicated_core_quota_per_vm_family or ()
    return next((int(f.core_quota or 0) for f in families if f.name == size.family_name), 0)
