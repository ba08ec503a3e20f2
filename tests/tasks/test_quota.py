"""What the management API says; the API itself is not to be had here."""

from typing import Any

import pytest
from azure.mgmt.batch.models import (
    BatchAccount,
    SkuCapability,
    SupportedSku,
    VirtualMachineFamilyCoreQuota,
)

from tasks.parameters import Pool
from tasks.quota import check_quota, judge_cores, judge_size


def an_account(**quotas: Any) -> BatchAccount:
    return BatchAccount({"properties": quotas})


def a_size(cores: str = "2") -> SupportedSku:
    size = SupportedSku({"name": "Standard_D2ds_v5", "familyName": "standardDDSv5Family"})
    size.capabilities = [SkuCapability({"name": "vCPUs", "value": cores})]
    return size


async def test_without_a_subscription_it_says_that_it_could_not(account: dict[str, str]) -> None:
    assert account
    found = await check_quota(Pool())
    assert (found.state, found.detail) == (
        "unchecked",
        "It needs AZURE_SUBSCRIPTION_ID and a sign-in.",
    )


async def test_where_nobody_is_signed_in_it_says_so(
    account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "00000000-0000-0000-0000-000000000000")
    monkeypatch.setenv("AZURE_RESOURCE_MANAGER_ENDPOINT", "https://127.0.0.1:9")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    found = await check_quota(Pool())
    assert found.state == "unchecked"
    assert found.detail.startswith("The sign-in by EnvironmentCredential failed")


def test_a_size_that_the_region_does_not_offer() -> None:
    found = judge_size([], Pool(vm_size="Standard_X9"))
    assert found
    assert found.detail == "This region does not offer Standard_X9 to Batch."
    assert "--pool.vm-size" in found.remedy
    assert judge_size([a_size()], Pool()) is None


@pytest.mark.parametrize("quota", [0, 1])
def test_a_quota_that_is_too_small_for_the_first_node(quota: int) -> None:
    found = judge_cores(an_account(lowPriorityCoreQuota=quota), [a_size()], Pool())
    assert found.state == "failed"
    assert found.detail == (f"The account may have {quota} Spot cores; a Standard_D2ds_v5 has 2.")
    assert "Quotas" in found.remedy


def test_a_quota_for_some_of_the_nodes_is_told_and_refuses_nobody() -> None:
    found = judge_cores(an_account(lowPriorityCoreQuota=4), [a_size()], Pool(spot_nodes=5))
    assert found.state == "passed"
    assert found.detail.endswith("There will be fewer nodes.")
    assert judge_cores(an_account(lowPriorityCoreQuota=10), [a_size()], Pool()).detail == ""


def test_dedicated_cores_are_counted_by_family_where_the_account_does() -> None:
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
    assert judge_cores(an_account(**quotas), [a_size()], pool).state == "failed"
    quotas["dedicatedCoreQuotaPerVMFamilyEnforced"] = False
    assert judge_cores(an_account(**quotas), [a_size()], pool).state == "passed"
