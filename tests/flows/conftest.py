"""Whole runs on one local stack and one Prefect server, each run with its own containers."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient

from flows.cli.samples import make_samples
from programs import CONVERT
from scenes import FILES, Scene
from tasks.azure.account_block import AzureAccounts
from tasks.azure.settings import SETTINGS
from tasks.errors import FilesFailedError
from tasks.parameters import Cleanup, Output
from tasks.results.listeners import listening
from tasks.results.run_report import Report


@pytest.fixture
def account(account: dict[str, str], prefect_server: str) -> dict[str, str]:
    """Return the stack's settings once a Prefect server runs too."""
    assert prefect_server
    return account


@pytest.fixture
def block(account: dict[str, str]) -> str:
    """Save the accounts in a Prefect block, and return its name."""
    fields = {field: account[name] for field, name in SETTINGS.items() if name in account}
    name = f"accounts-{uuid.uuid4().hex}"
    AzureAccounts(**fields).save(name, _sync=True)
    return name


@pytest.fixture
def unset(account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that removes the accounts from the environment."""

    def unset_all() -> None:
        for setting in account.keys() & SETTINGS.values():  # keeps the variables of the sign-in
            monkeypatch.delenv(setting)

    return unset_all


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def library(tmp_path: Path, samples: list[Path]) -> Callable[..., Path]:
    """Return a function that creates a folder of valid clips with the given names."""

    def make(*names: str) -> Path:
        folder = tmp_path / "library"
        for number, name in enumerate(names):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(samples[number % len(samples)], target)
        return folder

    return make


@pytest.fixture
def cut(clip: Callable[..., Path]) -> bytes:
    """Return a film that is cut short: only a node finds out."""
    whole = clip(".mp4", audio=20, muxer=(("movflags", "faststart"),)).read_bytes()
    return whole[: len(whole) // 2]


Convert = Callable[..., Coroutine[Any, Any, Report]]


@pytest.fixture
def convert(account: dict[str, str], containers: tuple[str, str]) -> Convert:
    """Return a function that runs the flow and returns its report."""
    from flows.convert import convert as flow

    assert account

    async def run(*sources: Path | str, **parameters: Any) -> Report:
        output = parameters.pop("output", {}) | {"container": containers[0]}
        cleanup = parameters.pop("cleanup", {}) | {"container": containers[1]}
        reports: list[object] = []
        with listening(reports.append):
            state = await flow(
                [str(source) for source in sources],
                output=Output(**output),
                cleanup=Cleanup(**cleanup),
                **parameters,
                return_state=True,
            )
        result = await state.aresult(raise_on_failure=False)
        if isinstance(result, Exception) and not isinstance(result, FilesFailedError):
            raise result
        report = reports[-1]
        assert isinstance(report, Report)
        assert state.is_completed() is report.is_success
        return report

    return run


@pytest.fixture
def started(
    account: dict[str, str], containers: tuple[str, str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts the command as a terminal does, in a new process group."""
    processes: list[subprocess.Popen[str]] = []

    def start(
        *words: str | Path, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        flags = {"--container": containers[0], "--cleanup.container": containers[1]}
        missing = [part for flag in flags.items() if flag[0] not in words for part in flag]
        process = subprocess.Popen(
            [*CONVERT, *words, *missing],
            cwd=tmp_path,
            env=environment or os.environ | account,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def scene(
    started: Any,
    library: Callable[..., Path],
    batch: BatchClient,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
) -> Scene:
    source = library(*(f"{number}.mp4" for number in range(FILES)))
    return Scene(started, source, batch, blobs, containers)
