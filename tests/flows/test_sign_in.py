"""The command's errors after a failed sign-in, which the local stack causes."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from records import a_request, a_ticket

from flows.convert import plan_beside_preflight
from programs import CONVERT
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.sign_in import TOKENS
from tasks.models import Check, Plan
from tasks.parameters import Request
from tasks.run import RunState

Library = Callable[..., Path]


@pytest.fixture
def run(account: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command and captures its output."""

    def run(folder: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        variables = os.environ | account | changes
        return subprocess.run(
            [*CONVERT, folder, *words],
            cwd=tmp_path,
            env={name: value for name, value in variables.items() if value},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def assert_one_error(ended: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Check for exit status 2 and one error with these parts, without traceback or SDK logs."""
    using, *lines = ended.stderr.splitlines()
    assert using.startswith("Using the Batch account")
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, ended.stderr
    assert all(part in ended.stderr for part in parts), ended.stderr
    assert "Traceback" not in ended.stderr
    assert "DefaultAzureCredential failed" not in ended.stderr
    assert ended.returncode == 2


@pytest.mark.accounts("entra")
@pytest.mark.parametrize(
    ("flaw", "parts"),
    [
        ("refused", ("AADSTS7000222", "secret has expired", "az login")),
        ("issuer", ("Azure Batch", "401", "the issuer must be", "az login --tenant")),
        ("role", ("Azure Batch", "403", "'Azure Batch Data Contributor'")),
    ],
)
def test_a_failed_sign_in_is_one_error_with_the_remedy(
    flaw: str, parts: tuple[str, ...], run: Any, library: Library, order: Any
) -> None:
    order("token", flaw=flaw)
    assert_one_error(run(library("a.mp4"), "--limits.role-wait-minutes", "0"), *parts)


@pytest.mark.accounts("entra")
def test_a_missing_sign_in_is_one_error_with_the_remedy(run: Any, library: Library) -> None:
    ended = run(
        library("a.mp4"), AZURE_CLIENT_SECRET="", AZURE_TOKEN_CREDENTIALS="EnvironmentCredential"
    )
    assert_one_error(ended, "EnvironmentCredential", "Run `az login`")


@pytest.mark.accounts("entra")
async def test_a_run_whose_sign_in_cannot_be_renewed_ends_normally_while_it_is_valid(
    convert: Any,
    library: Library,
    order: Any,
    batch: BatchClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for resource in ("https://batch.*", "https://storage.*"):
        order("token", flaw="brief", resource=resource, times=1)
        order("token", flaw="refused", resource=resource)
    TOKENS.clear()
    await sign_in()
    before = names(batch)
    report = await convert(library("a.mp4"))
    TOKENS.clear()
    assert report.summary.converted == 1
    assert names(batch) <= before
    assert "The present sign-in is valid for another" in caplog.text


async def sign_in() -> None:
    """Get the tokens for both accounts."""
    async with batch_client() as batch, blob_service() as service:
        await anext(batch.list_pools(), None)
        await service.get_container_client("none").exists()


async def test_a_plan_that_a_missing_role_stopped_is_made_again_after_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = HttpResponseError("refused")
    refused.status_code, refused.error_code = 403, "AuthorizationPermissionMismatch"  # type: ignore[attr-defined]
    request = HttpRequest("GET", "https://account.blob/output?skoid=identity")
    refused.response = SimpleNamespace(request=request)
    plans: list[Any] = [refused, Plan((), (), ())]

    async def make_plan(_: Request) -> Plan:
        plan = plans.pop(0)
        if isinstance(plan, Exception):
            raise plan
        assert isinstance(plan, Plan)
        return plan

    async def preflight(*_: object) -> tuple[Check, ...]:
        return (Check("deleting"),)

    monkeypatch.setattr("flows.convert.make_plan", make_plan)
    monkeypatch.setattr("flows.convert.preflight", preflight)
    run = RunState(request=a_request(("output", "input")), ticket=a_ticket())
    assert await plan_beside_preflight(run) == Plan((), (), ())


def names(batch: BatchClient) -> set[str]:
    """Return the pools and jobs that are not being deleted."""
    found = [*batch.list_pools(), *batch.list_jobs()]
    return {str(each.id) for each in found if each.state != "deleting"}
