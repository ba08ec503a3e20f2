"""What the command says when a sign-in does not do: the local stack provides the cause."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from programs import CONVERT

Library = Callable[..., Path]


@pytest.fixture
def run(account: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, as a terminal shows it."""

    def run(folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
        variables = os.environ | account | changes
        return subprocess.run(
            [*CONVERT, folder],
            cwd=tmp_path,
            env={name: value for name, value in variables.items() if value},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def assert_one_error(ended: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Status 2, one error whose lines have all of this, no traceback, and no log of the SDKs."""
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
        ("issuer", ("Azure Batch", "401", "must be by", "az login --tenant")),
        ("role", ("Azure Batch", "403", "'Azure Batch Data Contributor'")),
    ],
)
def test_a_sign_in_that_does_not_do_is_told_with_the_remedy(
    flaw: str, parts: tuple[str, ...], run: Any, library: Library, order: Any
) -> None:
    order("token", flaw=flaw)
    assert_one_error(run(library("a.mp4")), *parts)


@pytest.mark.accounts("entra")
def test_who_has_not_signed_in_is_told_how(run: Any, library: Library) -> None:
    ended = run(
        library("a.mp4"), AZURE_CLIENT_SECRET="", AZURE_TOKEN_CREDENTIALS="EnvironmentCredential"
    )
    assert_one_error(ended, "EnvironmentCredential", "Run `az login`")
