"""The check of quotas, against the local Resource Manager and as pure decisions."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.mgmt.batch.models import (
    BatchAccount,
    SkuCapability,
    SupportedSku,
    VirtualMachineFamilyCoreQuota,
)

from tasks.azure.quota import check_cores, check_quota, check_size
from tasks.azure.sign_in import TOKENS
from tasks.models import Check
from tasks.parameters import Pool

Order = Callable[..., None]
entra = pytest.mark.accounts("entra")
by_key = pytest.mark.accounts("key")


@pytest.fixture(autouse=True)
def _fresh_sign_in() -> Iterator[None]:
    """Forget the tokens of other tests, and the faulty ones of these tests."""
    TOKENS.clear()
    yield
    TOKENS.clear()


def an_account(**quotas: Any) -> BatchAccount:
    return BatchAccount({"properties": quotas})


def a_size(cores: str = "2") -> SupportedSku:
    size = SupportedSku({"name": "Standard_D2ds_v5", "familyName": "standardDDSv5Family"})
    size.capabilities = [SkuCapability({"name": "vCPUs", "value": cores})]
    return size


@entra
async def test_an_account_with_enough_cores_and_the_vm_size_passes(account: dict[str, str]) -> None:
    assert account
    assert await check_quota(Pool()) == Check("quota")
    assert await check_quota(Pool(spot_nodes=0, dedicated_nodes=1)) == Check("quota")


@entra
async def test_a_vm_size_is_found_on_any_page_and_in_any_case(account: dict[str, str]) -> None:
    assert account
    assert await check_quota(Pool(vm_size="STANDARD_E4DS_V5")) == Check("quota")


@entra
async def test_a_vm_size_that_the_region_has_withdrawn_fails(
    account: dict[str, str], order: Order
) -> None:
    assert account
    order("size", vmSize="standard_d*ds_v5")
    found = await check_quota(Pool())
    assert (found.state, found.detail, found.remedy) == (
        "failed",
        "This region does not offer Standard_D2ds_v5 to Batch.",
        "Choose another --pool.vm-size.",
    )
    assert (await check_quota(Pool(vm_size="Standard_D2s_v5"))).state == "passed"


@entra
@pytest.mark.parametrize(
    ("nodes", "pool", "cores"),
    [
        ("spot", Pool(), "Spot"),
        ("dedicated", Pool(spot_nodes=0, dedicated_nodes=1), "dedicated"),
    ],
)
async def test_too_few_cores_for_one_node_fail(
    account: dict[str, str], order: Order, nodes: str, pool: Pool, cores: str
) -> None:
    assert account
    order("quota", nodes=nodes, cores=1)
    found = await check_quota(pool)
    assert (found.state, found.detail, found.remedy) == (
        "failed",
        f"The account's quota is 1 {cores} cores; one Standard_D2ds_v5 node uses 2.",
        "Request a higher quota in the Azure portal (Quotas).",
    )


@entra
async def test_a_missing_role_on_the_subscription_is_named(
    account: dict[str, str], order: Order
) -> None:
    assert account
    order("token", flaw="role", resource="https://management.*")
    found = await check_quota(Pool())
    assert (found.state, found.detail, found.remedy) == (
        "unchecked",
        "Azure Resource Manager refused a request: 403 AuthorizationFailed.",
        "Assign the role 'Reader' on the subscription to the signed-in identity.",
    )


@entra
@pytest.mark.parametrize(
    ("subscription", "answer"),
    [
        ("00000000-0000-0000-0000-000000000000", "404 SubscriptionNotFound"),
        ("mine", "400 InvalidSubscriptionId"),
    ],
)
async def test_a_subscription_that_does_not_exist_is_reported(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch, subscription: str, answer: str
) -> None:
    assert account
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", subscription)
    found = await check_quota(Pool())
    assert (found.state, found.detail, found.remedy) == (
        "unchecked",
        f"Azure Resource Manager refused a request: {answer}.",
        "Check AZURE_SUBSCRIPTION_ID.",
    )


@entra
async def test_an_account_in_another_subscription_is_reported(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = account["AZURE_BATCH_ENDPOINT"].rpartition(":")[2]
    monkeypatch.setenv("AZURE_BATCH_ENDPOINT", f"https://localhost:{port}")
    found = await check_quota(Pool())
    assert (found.state, found.detail) == (
        "unchecked",
        "The Batch account is not in AZURE_SUBSCRIPTION_ID.",
    )


@by_key
async def test_without_a_subscription_the_quota_is_not_checked(account: dict[str, str]) -> None:
    assert account
    found = await check_quota(Pool())
    assert (found.state, found.detail) == (
        "unchecked",
        "This check requires AZURE_SUBSCRIPTION_ID and a sign-in.",
    )


@by_key
async def test_without_a_sign_in_the_quota_is_not_checked(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "00000000-0000-0000-0000-000000000000")
    monkeypatch.setenv("AZURE_RESOURCE_MANAGER_ENDPOINT", "https://127.0.0.1:9")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    found = await check_quota(Pool())
    assert found.state == "unchecked"
    assert found.detail.startswith("The sign-in with EnvironmentCredential failed")


def test_a_vm_size_that_the_region_does_not_offer_fails() -> None:
    found = check_size([], Pool(vm_size="Standard_X9"))
    assert found
    assert found.detail == "This region does not offer Standard_X9 to Batch."
    assert "--pool.vm-size" in found.remedy
    assert check_size([a_size()], Pool()) is None


@pytest.mark.parametrize("quota", [0, 1])
def test_a_quota_too_small_for_one_node_fails(quota: int) -> None:
    found = check_cores(an_account(lowPriorityCoreQuota=quota), [a_size()], Pool())
    assert found.state == "failed"
    assert found.detail == (
        f"The account's quota is {quota} Spot cores; one Standard_D2ds_v5 node uses 2."
    )
    assert "Quotas" in found.remedy


def test_a_quota_for_some_of_the_nodes_is_a_warning() -> None:
    found = check_cores(an_account(lowPriorityCoreQuota=4), [a_size()], Pool(spot_nodes=5))
    assert found.state == "passed"
    assert found.detail.endswith("The pool will have fewer nodes.")
    assert check_cores(an_account(lowPriorityCoreQuota=10), [a_size()], Pool()).detail == ""


async def test_a_shared_pool_passes() -> None:
    assert (await check_quota(Pool(id="mine"))).state == "passed"


def test_a_spot_quota_of_zero_passes_with_a_fallback_to_dedicated_nodes() -> None:
    account = an_account(lowPriorityCoreQuota=0, dedicatedCoreQuota=500)
    found = check_cores(account, [a_size()], Pool(fallback_minutes=20))
    assert found.state == "passed"
    assert found.detail.endswith("The pool will have fewer nodes.")


def test_dedicated_cores_are_counted_by_family_if_the_account_does() -> None:
    families = [
        VirtualMachineFamilyCoreQuota({"name": "standardDDSv5Family", "coreQuota": 0}),
        VirtualMachineFamilyCoreQuota({"name": "others", "coreQuota": 500}),
    ]
    quotas = {
        "dedicatedCoreQuota": 500,
        "dedicatedCoreQuotaPerVMFamily": families,
        "dedicatedCoreQuotaPerVMFamilyEnforced": True,
    }
    pool = Pool(spot_nodes=0, dedicated_nodes=1)
    assert check_cores(an_account(**quotas), [a_size()], pool).state == "failed"
    quotas["dedicatedCoreQuotaPerVMFamilyEnforced"] = False
    assert check_cores(an_account(**quotas), [a_size()], pool).state == "passed"
