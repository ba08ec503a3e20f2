"""Resource Manager of a stack with TLS, through the real client, and without it for errors."""

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.mgmt.batch import BatchManagementClient

from local_azure.batch.sizes import OFFERED
from local_azure.directory import BATCH, MANAGEMENT
from local_azure.management import PAGE

pytestmark = pytest.mark.accounts("entra")

UNKNOWN = "00000000-0000-0000-0000-000000000000"
ACCOUNTS = "providers/Microsoft.Batch/batchAccounts"
SIZES = "providers/Microsoft.Batch/locations/{}/virtualMachineSkus"
VERSION = "api-version=2025-06-01"


@pytest.fixture
def client(
    account: dict[str, str], credential: DefaultAzureCredential
) -> Iterator[BatchManagementClient]:
    with BatchManagementClient(
        credential,
        account["AZURE_SUBSCRIPTION_ID"],
        account["AZURE_RESOURCE_MANAGER_ENDPOINT"],
        retry_total=0,
    ) as client:
        yield client


@pytest.fixture
def ask(
    account: dict[str, str], credential: DefaultAzureCredential
) -> Callable[..., httpx.Response]:
    """Return a function that sends a request with a token for any resource."""

    def get(
        path: str, *, resource: str = MANAGEMENT, subscription: str = "", method: str = "GET"
    ) -> httpx.Response:
        place = subscription or account["AZURE_SUBSCRIPTION_ID"]
        return httpx.request(
            method,
            f"{account['AZURE_RESOURCE_MANAGER_ENDPOINT']}/subscriptions/{place}/{path}",
            headers={"Authorization": f"Bearer {credential.get_token(f'{resource}/.default')[0]}"},
            verify=ssl.create_default_context(cafile=account["SSL_CERT_FILE"]),
            timeout=60,
        )

    return get


def test_the_core_quota_suffices_for_the_quota_of_nodes_at_any_size(
    client: BatchManagementClient, account: dict[str, str]
) -> None:
    (found,) = client.batch_account.list()
    assert account["AZURE_BATCH_ENDPOINT"] == f"https://{found.account_endpoint}"
    assert found.name == account["AZURE_BATCH_ACCOUNT"]
    cores = 4 * max(size.cores for size in OFFERED)
    assert (found.low_priority_core_quota, found.dedicated_core_quota) == (cores, cores)
    assert found.dedicated_core_quota_per_vm_family_enforced
    by_family = {f.name: f.core_quota for f in found.dedicated_core_quota_per_vm_family}
    assert by_family == {size.family: cores for size in OFFERED}


def test_vm_sizes_come_in_pages(client: BatchManagementClient) -> None:
    assert len(OFFERED) > PAGE
    skus = client.location.list_supported_virtual_machine_skus("local")
    found = [(s.name, s.family_name, {c.name: c.value for c in s.capabilities}) for s in skus]
    assert found == [
        (s.name, s.family, {"vCPUs": str(s.cores), "LowPriorityCapable": "True"}) for s in OFFERED
    ]


def test_the_smallest_ordered_quota_is_reported_and_never_a_larger_one(
    client: BatchManagementClient, order: Callable[..., None]
) -> None:
    for cores in (100_000, 8, 3, 5):
        order(kind="quota", nodes="spot", cores=cores)
    order(kind="quota", nodes="dedicated", cores=0)
    (account,) = client.batch_account.list()
    assert (account.low_priority_core_quota, account.dedicated_core_quota) == (3, 0)
    assert {f.core_quota for f in account.dedicated_core_quota_per_vm_family} == {0}


def test_withdrawn_vm_sizes_are_not_listed(
    client: BatchManagementClient, order: Callable[..., None]
) -> None:
    order(kind="size", vmSize="standard_d*")
    skus = client.location.list_supported_virtual_machine_skus("local")
    assert [s.name for s in skus] == [s.name for s in OFFERED if s.name.startswith("Standard_E")]


def test_a_bearer_without_a_role_cannot_read_the_subscription(
    client: BatchManagementClient, order: Callable[..., None]
) -> None:
    order(kind="token", flaw="role", resource=f"{MANAGEMENT}*")
    with pytest.raises(HttpResponseError) as caught:
        list(client.batch_account.list())
    error: Any = caught.value
    assert (error.status_code, error.error.code) == (403, "AuthorizationFailed")
    assert "'Microsoft.Batch/batchAccounts/read'" in error.error.message


@pytest.mark.parametrize(
    ("path", "options", "status", "code"),
    [
        (ACCOUNTS, {}, 400, "MissingApiVersionParameter"),
        (f"{ACCOUNTS}?api-version=1999-01-01", {}, 400, "NoRegisteredProviderFound"),
        (f"{SIZES.format('mars')}?{VERSION}", {}, 400, "NoRegisteredProviderFound"),
        (f"{SIZES.format('local')}?{VERSION}&$skiptoken=x", {}, 400, "InvalidSkipToken"),
        (f"{ACCOUNTS}?{VERSION}", {"resource": BATCH}, 401, "InvalidAuthenticationToken"),
        (f"{ACCOUNTS}?{VERSION}", {"subscription": "mine"}, 400, "InvalidSubscriptionId"),
        (f"{ACCOUNTS}?{VERSION}", {"subscription": UNKNOWN}, 404, "SubscriptionNotFound"),
        (f"{ACCOUNTS}?{VERSION}&$filter=x", {}, 501, "NotImplemented"),
        (f"{ACCOUNTS}?{VERSION}", {"method": "DELETE"}, 501, "NotImplemented"),
        (f"resourceGroups?{VERSION}", {}, 501, "NotImplemented"),
    ],
)
def test_refusals_have_the_format_of_resource_manager(
    ask: Callable[..., httpx.Response],
    path: str,
    options: dict[str, str],
    status: int,
    code: str,
) -> None:
    answer = ask(path, **options)
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"code", "message"}
    assert answer.json()["error"]["code"] == code
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_batch_refuses_a_token_for_resource_manager(
    account: dict[str, str], credential: DefaultAzureCredential
) -> None:
    token = credential.get_token(f"{MANAGEMENT}/.default").token
    answer = httpx.get(
        f"{account['AZURE_BATCH_ENDPOINT']}/pools?{VERSION}",
        headers={"Authorization": f"Bearer {token}"},
        verify=ssl.create_default_context(cafile=account["SSL_CERT_FILE"]),
        timeout=60,
    )
    assert answer.status_code == 401
    assert MANAGEMENT in answer.text


def test_requests_to_other_host_names_are_refused(account: dict[str, str]) -> None:
    address = f"{account['AZURE_RESOURCE_MANAGER_ENDPOINT']}/subscriptions/{UNKNOWN}/{ACCOUNTS}"
    trusted = ssl.create_default_context(cafile=account["SSL_CERT_FILE"])
    answer = httpx.get(address, headers={"Host": "rebound.example"}, verify=trusted, timeout=60)
    assert (answer.status_code, answer.text) == (400, "Invalid host header")
