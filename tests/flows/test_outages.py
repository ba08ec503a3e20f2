"""Runs through an outage: for a while, neither account responds to the run. Nodes work on.

CI tests outages of 20 seconds, and one of the two signals. Those in which the lock's lease expires
are marked slow.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Timer
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from reactions import reacting_to

from scenes import FILES, STAGES, Scene
from storage_proxy import Delay, Drop, Hold, StorageProxy
from tasks.errors import AccountError
from tasks.results.listeners import listening
from tasks.results.progress import Progress
from tasks.results.run_report import Report

Outage = Callable[..., AbstractContextManager[list[int]]]
SECONDS = [
    20,
    pytest.param(60, marks=pytest.mark.slow),
    pytest.param(240, marks=pytest.mark.slow),
]
UNREACHABLE = Drop(when="before", sender="run")
UNREAD = "submitted; its result could not be read"


@pytest.fixture
def outage(storage_faults: StorageProxy, order: Any, clear_faults: Callable[[], None]) -> Outage:
    """Return a function that breaks the connections of runs to both accounts during a block.

    The block gets a list, to which the end of the outage adds how many requests to storage failed.
    """
    failed: list[int] = []

    def end() -> None:
        storage_faults.withdraw(UNREACHABLE)
        failed.append(len(storage_faults.requests))
        clear_faults()

    @contextmanager
    def unreachable(seconds: float | None = None) -> Iterator[list[int]]:
        order("drop", when="before")
        storage_faults.requests.clear()
        storage_faults.order(UNREACHABLE)
        timer = Timer(seconds, end) if seconds else None
        if timer:
            timer.start()
        try:
            yield failed
        finally:
            if timer:
                timer.join()
            else:
                end()

    return unreachable


@pytest.mark.parametrize("seconds", SECONDS)
@pytest.mark.parametrize("stage", ["uploads", "converting", "outputs"])
def test_a_run_converts_all_files_and_cleans_up_although_both_accounts_are_unreachable(
    scene: Scene, outage: Outage, storage_faults: StorageProxy, stage: str, seconds: float
) -> None:
    for slow in (Delay(sender="node", method="GET", seconds=3), Delay(comp="list", seconds=2)):
        storage_faults.order(slow)  # the stage still lasts when the outage begins
    process = scene.start(environment=dict(os.environ))
    scene.wait_for(process, STAGES[stage])
    with outage(seconds) as failed:
        rest, _ = process.communicate(timeout=seconds + 120)
    assert process.returncode == 0, rest
    assert re.search(rf"^{FILES} converted in", rest, re.MULTILINE), rest
    assert "Traceback" not in rest
    assert failed[0] > 0
    scene.check_end()


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_during_an_outage_ends_a_run_within_forty_seconds(
    scene: Scene, outage: Outage, number: signal.Signals
) -> None:
    process = scene.start(environment=dict(os.environ))
    scene.wait_for(process, STAGES["converting"])
    with outage():
        sent_at = time.monotonic()
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
        assert time.monotonic() - sent_at < 40
    assert process.returncode == 128 + number
    assert "may still exist. They end by themselves at " in rest
    assert "Traceback" not in rest
    assert scene.left_in_batch() != set()
    rest, _ = scene.start().communicate(timeout=150)
    assert re.search(r"^.*converted.* in", rest, re.MULTILINE), rest
    scene.check_end()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs fail after an outage of two seconds. Their cleanup is still patient."""
    monkeypatch.setattr("tasks.outages.OUTAGE_SECONDS", 2)


@pytest.mark.usefixtures("impatient")
async def test_files_whose_results_cannot_be_read_are_interrupted_and_not_called_unstarted(
    convert: Any,
    library: Any,
    outage: Outage,
    storage_faults: StorageProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.interruption.OUTAGE_SECONDS", 2)
    reports: list[Any] = []
    with ExitStack() as outages:
        begin = Beginning(outages, outage, storage_faults)
        with listening(begin), listening(reports.append), pytest.raises(AccountError):
            await convert(library("a.mp4", "b.mp4"))
    (report,) = [each for each in reports if isinstance(each, Report)]
    assert {(file.state, file.reason) for file in report.files} == {("interrupted", UNREAD)}


class Beginning:
    """Begins an outage at the first sign of a running batch task. Nodes download only then."""

    def __init__(self, outages: ExitStack, outage: Outage, storage: StorageProxy) -> None:
        self._outages, self._outage, self._storage = outages, outage, storage
        self._downloads = Hold(sender="node", method="GET", blob="*/inputs/*")
        self._has_begun = False
        storage.order(self._downloads)

    def __call__(self, event: object) -> None:
        if isinstance(event, Progress) and event.running and not self._has_begun:
            self._has_begun = True
            self._outages.enter_context(self._outage())
            self._storage.withdraw(self._downloads)


@pytest.fixture
def wait_for_outputs(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> Callable[[set[str]], None]:
    """Return a function that waits until the nodes have uploaded these outputs."""
    outputs = blobs.get_container_client(containers[0])

    def wait(names: set[str]) -> None:
        deadline = time.monotonic() + 60
        while not names <= set(outputs.list_blob_names()):
            assert time.monotonic() < deadline, "timeout"

    return wait


@pytest.mark.usefixtures("impatient")
async def test_files_that_were_converted_are_reported_as_such_once_the_cleanup_reaches_storage(
    convert: Any,
    library: Any,
    outage: Outage,
    storage_faults: StorageProxy,
    wait_for_outputs: Callable[[set[str]], None],
) -> None:
    reports: list[Any] = []

    def restore() -> None:
        wait_for_outputs({"a.mp3", "b.mp3"})
        outages.close()

    with ExitStack() as outages, reacting_to("Retrying.", restore):
        begin = Beginning(outages, outage, storage_faults)
        with listening(begin), listening(reports.append), pytest.raises(AccountError):
            await convert(library("a.mp4", "b.mp4"))
    (report,) = [each for each in reports if isinstance(each, Report)]
    assert {file.state for file in report.files} == {"converted"}
