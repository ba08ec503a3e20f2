"""No key and no SAS token is found in anything that a run prints, writes or stores."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.local.server import running_server
from programs import CONVERT
from stacks import LocalStack
from tasks.settings import SETTINGS


@pytest.fixture
def told(
    account: dict[str, str],
    containers: tuple[str, str],
    library: Callable[..., Path],
    clip: Callable[..., Path],
    tmp_path: Path,
) -> bytes:
    """All that two runs with converted and failed files say and leave, at the noisiest level.

    The first has the accounts in its environment, the second from a block.
    """
    folder = library("good.mp4")
    (folder / "text.mp4").write_text("no film")
    whole = clip(".mp4", audio=20, muxer=(("movflags", "faststart"),)).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    said = b""
    with running_server(tmp_path / "server") as server:
        environment = os.environ | {
            "PREFECT_API_URL": server.wait(),
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
        }
        save_block(environment | account)
        signed_in = environment | account
        without = {n: v for n, v in signed_in.items() if n not in SETTINGS.values()}
        for words, variables in (([], environment | account), (["--account", "canary"], without)):
            ended = subprocess.run(
                [
                    *(*CONVERT, folder, "--force", *words),
                    *("--container", containers[0], "--cleanup.container", containers[1]),
                    *("--download-to", "out", "--report", "report.json"),
                    *("--cleanup.inputs", "keep"),
                ],
                cwd=tmp_path,
                env=variables,
                capture_output=True,
                timeout=180,
                check=False,
            )
            assert ended.returncode == 1, ended.stderr
            assert b"1 converted, 2 failed" in ended.stdout
            said += ended.stdout + ended.stderr
    return said + b"".join(read_all(tmp_path))


def save_block(environment: dict[str, str]) -> None:
    program = (
        "from tasks.credentials import AzureAccounts\n"
        "from tasks.settings import load_accounts\n"
        "AzureAccounts(**dict(load_accounts())).save('canary')\n"
    )
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)


def read_all(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".mp4":
            yield path.read_bytes()


@pytest.fixture
def secrets(account: dict[str, str], account_stack: LocalStack) -> list[bytes]:
    """Of both accounts, and of who signs in."""
    (storage_key,) = re.findall("AccountKey=([^;]+)", account_stack.storage_connection)
    given = (storage_key, account_stack.batch_key, account.get("AZURE_CLIENT_SECRET", storage_key))
    return [secret.encode() for secret in given]


@pytest.mark.accounts("key", "entra")
def test_no_key_and_no_token_is_told(told: bytes, secrets: list[bytes]) -> None:
    assert b"SQLite format 3" in told, "the database was not read"
    for secret in (*secrets, b"SharedKey "):
        assert secret not in told
    assert not re.search(rb"sig=[\w%]{30,}", told)  # Prefect's own examples have a short one
    assert not re.search(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.", told), "a bearer token"
