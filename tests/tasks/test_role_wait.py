"""Runs that wait for a role. A fault of the local stack lets it take effect later."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import UserDelegationKey
from reactions import reacting_to
from records import NOW, a_request, a_ticket

from storage_proxy import Refusal, StorageProxy
from tasks import role_wait
from tasks.azure.api_errors import lacks_role
from tasks.azure.clients import batch_client
from tasks.azure.sas import Signer
from tasks.azure.transport import open_transport
from tasks.errors import PreflightError
from tasks.models import Check
from tasks.parameters import Limits
from tasks.preflight import TokenAccess, preflight
from tasks.role_wait import MissingRole, only_roles_are_missing, wait_for_roles

Order = Callable[..., None]


@pytest.fixture
def later_roles(order: Order, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let roles take effect as soon as a run says that it waits for them."""
    monkeypatch.setattr(role_wait, "PAUSE_SECONDS", 0.05)
    order("role", seconds=300)
    with reacting_to("A role is missing", lambda: order("role", seconds=0)):
        yield


@pytest.mark.accounts("entra")
@pytest.mark.usefixtures("later_roles")
async def test_a_run_waits_until_a_new_role_takes_effect_and_says_why(
    account: dict[str, str], containers: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert account
    checks = await preflight.fn(a_request(containers), a_ticket())
    assert {check.state for check in checks} <= {"passed", "unchecked"}
    [line] = [record.message for record in caplog.records if record.name == "tasks.role_wait"]
    assert line == (
        "Azure Batch refused a request: 403 AuthorizationFailure. A role is missing"
        " (Batch account; storage account). A new role takes up to ten minutes to take effect, so"
        " this run waits for up to 1 minutes. To end at once: --limits.role-wait-minutes 0."
    )


@pytest.mark.accounts("entra")
async def test_a_run_that_must_not_wait_for_roles_ends_at_once(
    account: dict[str, str],
    containers: tuple[str, str],
    order: Order,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert account
    order("role", seconds=300)
    request = a_request(containers, limits=Limits(role_wait_minutes=0))
    with pytest.raises(PreflightError, match="Azure Batch Data Contributor"):
        await preflight.fn(request, a_ticket())
    assert "A role is missing" not in caplog.text


@pytest.mark.accounts("entra")
async def test_a_run_does_not_wait_for_roles_beyond_its_deadline(
    account: dict[str, str], containers: tuple[str, str], order: Order
) -> None:
    assert account
    order("role", seconds=300)
    with pytest.raises(PreflightError):
        await preflight.fn(a_request(containers), a_ticket(deadline=datetime.now(UTC)))


def test_a_run_waits_only_if_each_failed_check_is_about_a_role() -> None:
    missing, other = MissingRole("deleting", "failed"), Check("clock", "failed")
    rest = [Check("nodes"), Check("quota", "unchecked")]
    assert only_roles_are_missing([*rest, missing])
    assert not only_roles_are_missing([*rest, missing, other])
    assert not only_roles_are_missing(rest)


async def test_the_last_checks_count_if_a_role_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(role_wait, "PAUSE_SECONDS", 0.01)
    made: list[tuple[Check, ...]] = []

    async def make_checks() -> tuple[Check, ...]:
        made.append((MissingRole("deleting", "failed"),))
        return made[-1]

    until = datetime.now(UTC) + timedelta(seconds=0.1)
    assert await wait_for_roles(make_checks, until=until) is made[-1]
    assert len(made) > 1


@pytest.mark.accounts("key", "entra")
async def test_batch_refuses_an_identity_without_a_role_but_not_a_key(
    account: dict[str, str], order: Order
) -> None:
    order("answer", status=403, operation="GET /jobs/none")
    async with batch_client() as batch:
        with pytest.raises(HttpResponseError) as caught:
            await batch.get_job("none")
    assert lacks_role(caught.value) is ("AZURE_BATCH_ACCESS_KEY" not in account)


@pytest.mark.parametrize(
    ("code", "is_identity", "expected"),
    [
        ("AuthorizationPermissionMismatch", True, True),
        ("AuthorizationPermissionMismatch", False, False),
        ("AuthorizationFailure", True, False),  # a firewall
        ("AuthenticationFailed", True, False),
    ],
)
async def test_storage_refuses_a_token_of_an_identity_without_a_role(
    storage_faults: StorageProxy,
    code: str,
    is_identity: bool,  # noqa: FBT001  a table
    expected: bool,  # noqa: FBT001
) -> None:
    storage_faults.order(Refusal(status=403, code=code))
    signer = a_signer(storage_faults, delegation=a_delegation() if is_identity else None)
    async with open_transport() as transport:
        with pytest.raises(HttpResponseError) as caught:
            await TokenAccess(signer, transport).read("container", "blob")
    assert lacks_role(caught.value) is expected


def a_signer(proxy: StorageProxy, **values: Any) -> Signer:
    parts = dict(part.split("=", 1) for part in proxy.connection_string.split(";") if part)
    given = {"key": None if values["delegation"] else parts["AccountKey"]} | values
    return Signer(endpoint=parts["BlobEndpoint"], account=parts["AccountName"], until=NOW, **given)


def a_delegation() -> UserDelegationKey:
    """Return a key as Storage issues it to an identity."""
    key = UserDelegationKey()
    for name in ("oid", "tid", "start", "expiry", "service", "version"):
        setattr(key, f"signed_{name}", "a")
    key.value = "a2V5"
    return key
