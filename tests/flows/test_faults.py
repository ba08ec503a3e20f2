"""Whole runs during each fault of the cloud.

CI converts six files per fault. The tests with 50 files and most faults of storage are marked slow.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from azure.batch import BatchClient
from run_pages import crashes, file_states

from storage_proxy import Bandwidth, Delay, Drop, Fault, Refusal, StorageProxy
from tasks.parameters import Limits, Pool
from tasks.results.listeners import listening
from tasks.results.progress import Progress
from tasks.results.run_report import Report

Order = Callable[..., None]
Convert = Callable[..., Any]
FILES = 6
SIZES = pytest.mark.parametrize(
    "source", [FILES, pytest.param(50, marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture
def source(library: Callable[..., Path], request: pytest.FixtureRequest) -> Path:
    """Create a folder of six files, or of as many as the test's parameter says."""
    return library(*(f"{number}.mp4" for number in range(getattr(request, "param", FILES))))


def files_in(source: Path) -> int:
    return len(list(source.iterdir()))


def states(report: Report) -> dict[str, int]:
    names = ("converted", "failed", "not_started", "interrupted")
    return {state: count for state in names if (count := getattr(report.summary, state))}


PASSING: dict[str, list[dict[str, Any]]] = {
    "a few requests are throttled": [{"kind": "answer", "status": 429, "times": 5}],
    "a few requests are refused with a retry-after": [
        {"kind": "answer", "status": 503, "retryAfter": 1, "times": 3}
    ],
    "one request in ten is throttled, refused or dropped": [
        {"kind": "seed", "seed": 7},
        {"kind": "answer", "status": 429, "retryAfter": 0, "chance": 0.04},
        {"kind": "answer", "status": 503, "chance": 0.03},
        {"kind": "drop", "when": "before", "chance": 0.03},
    ],
    "the response to the creation of the pool is lost": [
        {"kind": "drop", "when": "after", "operation": "POST /pools", "times": 1}
    ],
    "the response to the creation of the job is lost": [
        {"kind": "drop", "when": "after", "operation": "POST /jobs", "times": 1}
    ],
    "the response to a wave is lost": [
        {
            "kind": "drop",
            "when": "after",
            "operation": "POST /jobs/*/addtaskcollection",
            "times": 1,
        }
    ],
    "a third of all starts evict the node": [
        {"kind": "seed", "seed": 7},
        {"kind": "evict", "chance": 0.3},
    ],
    "the start task fails on one node": [{"kind": "starttask", "nodes": 1}],
    "task counts are two seconds old": [{"kind": "lag", "seconds": 2}],
    "one download of a source fails": [
        {"kind": "download", "code": "BlobDownloadMiscError", "times": 1}
    ],
    "one upload of an output fails": [
        {"kind": "upload", "code": "FileUploadMiscError", "times": 1}
    ],
    "nodes take two seconds to boot": [{"kind": "boot", "seconds": 2}],
}


@SIZES
@pytest.mark.parametrize("orders", PASSING.values(), ids=PASSING.keys())
async def test_all_files_are_converted_although(
    convert: Convert, source: Path, order: Order, orders: list[dict[str, Any]]
) -> None:
    for fault in orders:
        order(**fault)
    report = await convert(source, pool=Pool(slots_per_node=2))  # so there are several nodes
    assert states(report) == {"converted": files_in(source)}


@SIZES
@pytest.mark.usefixtures("free_quota")
async def test_all_files_are_converted_although_a_node_is_lost(
    convert: Convert,
    source: Path,
    order: Order,
    batch: BatchClient,
    storage_faults: StorageProxy,
) -> None:
    # Without the delay, all files may be converted before the watcher sees a running batch task.
    storage_faults.order(Delay(method="PUT", blob="output-*", seconds=2, times=4))
    lost: list[str] = []

    def lose_once(event: object) -> None:
        if isinstance(event, Progress) and event.running and not lost:
            (pool,) = (p.id for p in batch.list_pools() if p.state == "active")
            lost.append(next(iter(batch.list_nodes(pool))).id)
            order("lose", pool=pool, node=lost[0])

    with listening(lose_once):
        report = await convert(source, pool=Pool(spot_nodes=2, slots_per_node=2))
    assert lost
    assert states(report) == {"converted": files_in(source)}


@pytest.mark.parametrize("refusals", [0, 1])
async def test_the_pool_is_deleted_before_the_outputs_are_listed_or_after_a_refusal_in_cleanup(
    convert: Convert, library: Callable[..., Path], order: Order, batch: BatchClient, refusals: int
) -> None:
    if refusals:
        order("answer", status=403, operation="DELETE /pools/*", times=refusals)
    report = await convert(library("a.mp4"))
    stages = {stage.name: stage for stage in report.timeline.stages}
    assert report.is_success
    (node,) = report.timeline.lanes
    if refusals:
        assert node.end == stages["cleanup"].end
    else:
        assert node.end == stages["release"].end <= stages["outputs"].start
    assert report.run.pool not in {p.id for p in batch.list_pools() if p.state == "active"}


FATAL: dict[str, dict[str, Any]] = {
    "StartTaskFailed": {"kind": "starttask"},
    "UnsupportedVMSize": {"kind": "resize", "code": "UnsupportedVMSize"},
}


@pytest.mark.usefixtures("free_quota")
@pytest.mark.parametrize(("code", "fault"), FATAL.items(), ids=FATAL.keys())
async def test_a_run_ends_within_a_minute_with_a_diagnosis_if_no_node_can_work(
    convert: Convert,
    source: Path,
    order: Order,
    code: str,
    fault: dict[str, Any],
) -> None:
    order(**fault)
    report = await convert(source)
    assert states(report) == {"not_started": FILES}
    assert report.run.diagnosis.code == code
    assert report.run.diagnosis.remedy
    assert report.summary.seconds < 60


async def test_a_failed_start_task_ends_the_run_within_a_minute_during_a_longer_upload(
    convert: Convert, source: Path, order: Order, storage_faults: StorageProxy
) -> None:
    order("starttask")
    storage_faults.order(Delay(seconds=120, method="PUT", blob="*/inputs/*"))
    report = await convert(source)
    assert report.run.diagnosis.code == "StartTaskFailed"
    assert "This failure was ordered as a fault." in report.run.diagnosis.detail
    assert report.summary.seconds < 60


@pytest.mark.usefixtures("free_quota")
@pytest.mark.parametrize("what", ["pool", "job"])
async def test_a_pool_or_job_that_is_deleted_from_outside_ends_the_run_with_that_reason(
    convert: Convert, source: Path, order: Order, batch: BatchClient, what: str
) -> None:
    order("boot", seconds=3600)
    delete = {"pool": batch.begin_delete_pool, "job": batch.begin_delete_job}[what]
    deleted: list[str] = []

    def delete_once(event: object) -> None:
        if isinstance(event, Progress) and event.nodes and not deleted:
            (name,) = (p.id for p in batch.list_pools() if p.state == "active")
            deleted.append(name)
            delete(name)

    with listening(delete_once):
        report = await convert(source)
    assert report.run.diagnosis.code == f"{what.capitalize()}Deleted"
    assert states(report) == {"not_started": FILES}


@pytest.mark.parametrize(
    ("kind", "code"),
    [("upload", "FileUploadAccessDenied"), ("download", "ResourceFileCreateFailed")],
)
async def test_files_whose_transfer_always_fails_fail_with_the_reason_after_a_second_attempt(
    convert: Convert, source: Path, order: Order, kind: str, code: str
) -> None:
    order(kind, code=code)
    report = await convert(source)
    assert states(report) == {"failed": FILES}
    assert all(str(file.reason).startswith(code) for file in report.files)
    assert all("(Reason: The local service was told" in str(file.reason) for file in report.files)
    has_log = ["fileuploaderr.txt: {" in str(file.reason) for file in report.files]
    assert has_log == [kind == "upload"] * FILES
    assert not any("sig=" in str(file.reason) for file in report.files)
    assert all(file.attempts == 2 for file in report.files)


@pytest.mark.slow  # it waits for a whole minute
async def test_the_deadline_ends_a_run_whose_nodes_never_boot(
    convert: Convert, source: Path, order: Order
) -> None:
    order("boot", seconds=3600)
    report = await convert(source, limits=Limits(deadline_minutes=1), pool=Pool(spot_nodes=1))
    assert states(report) == {"not_started": FILES}
    assert report.run.diagnosis.code == "DeadlinePassed"
    run_id = UUID(report.run.id)
    assert set((await file_states(run_id)).values()) == {"not started"}
    assert await crashes(run_id) == []


STORAGE: dict[str, list[Fault]] = {
    "a few requests are throttled": [Refusal(status=429, times=3)],
    "uploads are refused with a retry-after": [
        Refusal(status=503, method="PUT", times=3, retry_after_seconds=1)
    ],
    "one request in ten is refused or dropped": [
        Refusal(status=503, chance=0.07),
        Drop(when="before", chance=0.03),
    ],
    "responses to uploads are lost": [Drop(when="after", method="PUT", times=2)],
    "downloads break off": [Drop(when="within", method="GET", blob="*.mp3", times=2)],
    "everything is slow": [Delay(seconds=0.05), Bandwidth(bytes_per_second=500_000)],
}


SAMPLE = {"one request in ten is refused or dropped", "downloads break off"}


@SIZES
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(faults, id=name, marks=[] if name in SAMPLE else pytest.mark.slow)
        for name, faults in STORAGE.items()
    ],
)
async def test_all_files_are_converted_and_downloaded_although(
    convert: Convert,
    source: Path,
    storage_faults: StorageProxy,
    faults: list[Fault],
    tmp_path: Path,
) -> None:
    storage_faults.seed(7)
    for fault in faults:
        storage_faults.order(fault)
    report = await convert(source, output={"download_to": str(tmp_path / "out")})
    assert states(report) == {"converted": files_in(source)}
    downloaded = [path for path in (tmp_path / "out").iterdir() if path.suffix == ".mp3"]
    assert len(downloaded) == files_in(source)
    assert all(path.stat().st_size > 0 for path in downloaded)
