"""Keys, SAS tokens and bearer tokens appear in nothing that a run prints, writes or stores."""

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
from databases import EmptyDatabase

from flows.cli.prefect_server import running_server
from local_azure.testing import LocalStack
from programs import CONVERT
from tasks.azure.settings import SETTINGS


@pytest.fixture
def sources(
    library: Callable[..., Path], clip: Callable[..., Path], blobs: BlobServiceClient
) -> list[str]:
    """Create valid and invalid sources: three files, and two blobs that need a SAS token."""
    folder = library("good.mp4")
    (folder / "text.mp4").write_text("not a film")
    whole = clip(".mp4", audio=20, muxer=(("movflags", "faststart"),)).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    container = blobs.create_container(f"source-{uuid.uuid4().hex[:8]}")
    for name in ("good.mp4", "text.mp4"):
        container.upload_blob(f"b/{name}", (folder / name).read_bytes())
    return [str(folder), f"az://{container.container_name}"]


@pytest.fixture
def traces(
    account: dict[str, str],
    containers: tuple[str, str],
    sources: list[str],
    empty_database: EmptyDatabase,
    tmp_path: Path,
) -> bytes:
    """Run the command twice at log level DEBUG, and return everything that it prints and leaves.

    The first run has the accounts in its environment, the second one uses a block. The result
    includes temporary files, and the command lines of all processes on the machine.
    """
    (tmp_path / "temporary").mkdir()
    empty_database.copy_to(tmp_path / "server")
    output = b""
    with recording_command_lines() as command_lines, running_server(tmp_path / "server") as server:
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
            output += ended.stdout + ended.stderr
    assert not Path("/proc").exists() or any(
        b"tasks.media.sandbox" in words for words in command_lines
    )
    return output + b"".join(command_lines) + b"".join(read_all(tmp_path))


@contextmanager
def recording_command_lines() -> Iterator[set[bytes]]:
    """Record the command lines of all processes while the block runs, on Linux."""
    command_lines: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    command_lines.add(path.read_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    yield command_lines
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
    """Return the keys of both accounts, and the secret of the sign-in."""
    (storage_key,) = re.findall("AccountKey=([^;]+)", account_stack.storage_connection)
    given = (storage_key, account_stack.batch_key, account.get("AZURE_CLIENT_SECRET", storage_key))
    return [secret.encode() for secret in given]


@pytest.mark.accounts("key", "entra")
def test_a_run_reveals_no_key_and_no_token(traces: bytes, secrets: list[bytes]) -> None:
    assert b"SQLite format 3" in traces, "the database was not read"
    for secret in (*secrets, b"SharedKey "):
        assert secret not in traces
    assert not re.search(rb"sig=[\w%]{30,}", traces)  # Prefect's examples contain a shorter one
    assert not re.search(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.", traces), "a bearer token"
