"""The command's errors after a failed sign-in, which the local stack causes."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from reactions import reacting_to

from programs import CONVERT
from tasks import role_wait
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.sign_in import TOKENS

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


@pytest.mark.accounts("entra")
async def test_a_run_waits_for_roles_that_take_effect_later_and_then_plans(
    convert: Any, library: Library, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(role_wait, "PAUSE_SECONDS", 0.05)
    order("role", seconds=300)
    with reacting_to("A role is missing", lambda: order("role", seconds=0)):
        report = await convert(library("a.mp4"))
    assert report.summary.converted == 1


def names(batch: BatchClient) -> set[str]:
    """Return the pools and jobs that are not being deleted."""
    found = [*batch.list_pools(), *batch.list_jobs()]
    return {str(each.id) for each in found if each.state != "deleting"}
