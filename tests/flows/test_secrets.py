"""No key and no SAS token is found in anything that a run prints, writes or stores."""

import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from flows.cli.prefect_server import running_server
from local_azure.testing import LocalStack
from programs import CONVERT
from tasks.azure.settings import SETTINGS


@pytest.fixture
def sources(
    library: Callable[..., Path], clip: Callable[..., Path], blobs: BlobServiceClient
) -> list[str]:
    """Good and bad ones: three files, and two blobs, which are looked into by a token."""
    folder = library("good.mp4")
    (folder / "text.mp4").write_text("no film")
    whole = clip(".mp4", audio=20, muxer=(("movflags", "faststart"),)).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    container = blobs.create_container(f"source-{uuid.uuid4().hex[:8]}")
    for name in ("good.mp4", "text.mp4"):
        container.upload_blob(f"b/{name}", (folder / name).read_bytes())
    return [str(folder), f"az://{container.container_name}"]


@pytest.fixture
def told(
    account: dict[str, str],
    containers: tuple[str, str],
    sources: list[str],
    tmp_path: Path,
) -> bytes:
    """All that two runs with converted and failed files say and leave, at the noisiest level.

    The first has the accounts in its environment, the second from a block. What all processes of
    the machine were called with meanwhile counts, and what the runs leave among temporary files.
    """
    (tmp_path / "temporary").mkdir()
    said = b""
    with watching() as called, running_server(tmp_path / "server") as server:
        environment = os.environ | {
            "PREFECT_API_URL": server.wait(),
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "TMPDIR": str(tmp_path / "temporary"),
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
        }
        save_block(environment | account)
        signed_in = environment | account
        without = {n: v for n, v in signed_in.items() if n not in SETTINGS.values()}
        for words, variables in (([], environment | account), (["--account", "canary"], without)):
            ended = subprocess.run(
                [
                    *(*CONVERT, *sources, "--force", *words),
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
            assert b"2 converted, 3 failed" in ended.stdout
            said += ended.stdout + ended.stderr
    assert not Path("/proc").exists() or any(b"tasks.media.sandbox" in words for words in called)
    return said + b"".join(called) + b"".join(read_all(tmp_path))


@contextmanager
def watching() -> Iterator[set[bytes]]:
    """The words with which all processes were called while the block lasted, where they show."""
    called: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    called.add(path.read_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    yield called
    over.set()
    thread.join()


def save_block(environment: dict[str, str]) -> None:
    program = (
        "from tasks.azure.account_block import AzureAccounts\n"
        "from tasks.azure.settings import load_accounts\n"
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
