"""Each fault of the cloud against the whole pipeline, and what must come of it.

CI takes ten files. The whole:  FAULT_FILES=50 .venv/bin/pytest tests/flows/test_faults.py
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient

from storage_proxy import Bandwidth, Delay, Drop, Fault, Refusal, StorageProxy
from tasks.parameters import Limits, Pool
from tasks.results.listeners import listening
from tasks.results.progress import Progress
from tasks.results.run_report import Report

FILES = int(os.environ.get("FAULT_FILES", "10"))
Order = Callable[..., None]
Convert = Callable[..., Any]


@pytest.fixture
def source(library: Callable[..., Path]) -> Path:
    return library(*(f"{number}.mp4" for number in range(FILES)))


def states(report: Report) -> dict[str, int]:
    names = ("converted", "failed", "not_started", "interrupted")
    return {state: count for state in names if (count := getattr(report.summary, state))}


PASSING: dict[str, list[dict[str, Any]]] = {
    "a few requests are throttled": [{"kind": "answer", "status": 429, "times": 5}],
    "a few are, and told when to come back": [
        {"kind": "answer", "status": 503, "retryAfter": 1, "times": 3}
    ],
    "one in ten is throttled, refused or dropped": [
        {"kind": "seed", "seed": 7},
        {"kind": "answer", "status": 429, "retryAfter": 0, "chance": 0.04},
        {"kind": "answer", "status": 503, "chance": 0.03},
        {"kind": "drop", "when": "before", "chance": 0.03},
    ],
    "the answer to the pool's making is lost": [
        {"kind": "drop", "when": "after", "operation": "POST /pools", "times": 1}
    ],
    "the answer to the job's making is lost": [
        {"kind": "drop", "when": "after", "operation": "POST /jobs", "times": 1}
    ],
    "the answer to a wave is lost": [
        {
            "kind": "drop",
            "when": "after",
            "operation": "POST /jobs/*/addtaskcollection",
            "times": 1,
        }
    ],
    "a third of all starts evict their node": [
        {"kind": "seed", "seed": 7},
        {"kind": "evict", "chance": 0.3},
    ],
    "the start task fails on one node": [{"kind": "starttask", "nodes": 1}],
    "task counts are two seconds old": [{"kind": "lag", "seconds": 2}],
    "a source cannot be fetched once": [
        {"kind": "download", "code": "BlobDownloadMiscError", "times": 1}
    ],
    "an output cannot be uploaded once": [
        {"kind": "upload", "code": "FileUploadMiscError", "times": 1}
    ],
    "nodes take two seconds to boot": [{"kind": "boot", "seconds": 2}],
}


@pytest.mark.parametrize("orders", PASSING.values(), ids=PASSING.keys())
async def test_all_are_converted_although(
    convert: Convert, source: Path, order: Order, orders: list[dict[str, Any]]
) -> None:
    for fault in orders:
        order(**fault)
    report = await convert(source)
    assert states(report) == {"converted": FILES}


@pytest.mark.usefixtures("free_quota")
async def test_all_are_converted_although_a_node_is_lost_for_good(
    convert: Convert,
    source: Path,
    order: Order,
    batch: BatchClient,
    storage_faults: StorageProxy,
) -> None:
    # Else all may be converted before the watcher sees any of them run.
    storage_faults.order(Delay(method="PUT", blob="output-*", seconds=2, times=4))
    lost: list[str] = []

    def lose_once(news: object) -> None:
        if isinstance(news, Progress) and news.running and not lost:
            (pool,) = (p.id for p in batch.list_pools() if p.state == "active")
            lost.append(next(iter(batch.list_nodes(pool))).id)
            order("lose", pool=pool, node=lost[0])

    with listening(lose_once):
        report = await convert(source, pool=Pool(spot_nodes=2))
    assert lost
    assert states(report) == {"converted": FILES}


@pytest.mark.parametrize("refusals", [0, 1])
async def test_a_pool_is_deleted_before_the_outputs_are_listed_or_else_in_cleanup(
    convert: Convert, library: Callable[..., Path], order: Order, batch: BatchClient, refusals: int
) -> None:
    if refusals:
        order("answer", status=403, operation="DELETE /pools/*", times=refusals)
    report = await convert(library("a.mp4"))
    stages = {stage.name: stage for stage in report.timeline.stages}
    assert report.is_success
    assert ("release" in stages) is (refusals == 0)
    if "release" in stages:
        assert stages["release"].end <= stages["outputs"].start
    assert report.run.pool not in {p.id for p in batch.list_pools() if p.state == "active"}


FATAL: dict[str, dict[str, Any]] = {
    "StartTaskFailed": {"kind": "starttask"},
    "UnsupportedVMSize": {"kind": "resize", "code": "UnsupportedVMSize"},
    "AccountSpotCoreQuotaReached": {"kind": "resize", "code": "AccountSpotCoreQuotaReached"},
}


@pytest.mark.usefixtures("free_quota")
@pytest.mark.parametrize(("code", "fault"), FATAL.items(), ids=FATAL.keys())
async def test_the_run_ends_soon_with_a_diagnosis_where_no_node_can_work(
    convert: Convert, source: Path, order: Order, code: str, fault: dict[str, Any]
) -> None:
    order(**fault)
    report = await convert(source)
    assert states(report) == {"not_started": FILES}
    assert report.run.diagnosis.code == code
    assert report.run.diagnosis.remedy
    assert report.summary.seconds < 60


async def test_a_failed_start_task_is_quoted_within_a_minute_though_an_upload_takes_longer(
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
async def test_a_pool_or_job_that_somebody_deletes_ends_the_run_with_that_reason(
    convert: Convert, source: Path, order: Order, batch: BatchClient, what: str
) -> None:
    order("boot", seconds=3600)
    delete = {"pool": batch.begin_delete_pool, "job": batch.begin_delete_job}[what]
    deleted: list[str] = []

    def delete_once(news: object) -> None:
        if isinstance(news, Progress) and news.nodes and not deleted:
            (name,) = (p.id for p in batch.list_pools() if p.state == "active")
            deleted.append(name)
            delete(name)

    with listening(delete_once):
        report = await convert(source)
    assert report.run.diagnosis.code == f"{what.capitalize()}Deleted"
    assert states(report) == {"not_started": FILES}


@pytest.mark.parametrize(
    ("kind", "code"),
    [("upload", "FileUploadAccessDenied"), ("download", "BlobNotFound")],
)
async def test_what_can_never_be_transferred_fails_with_the_reason_after_a_second_attempt(
    convert: Convert, source: Path, order: Order, kind: str, code: str
) -> None:
    order(kind, code=code)
    report = await convert(source)
    assert states(report) == {"failed": FILES}
    assert all(code in str(file.reason) for file in report.files)
    assert all(file.attempts == 2 for file in report.files)


@pytest.mark.skipif(FILES < 50, reason="it waits for a whole minute")
async def test_the_deadline_ends_a_run_whose_nodes_never_boot(
    convert: Convert, source: Path, order: Order
) -> None:
    order("boot", seconds=3600)
    report = await convert(source, limits=Limits(deadline_minutes=1), pool=Pool(spot_nodes=1))
    assert states(report) == {"not_started": FILES}
    assert report.run.diagnosis.code == "DeadlinePassed"


STORAGE: dict[str, list[Fault]] = {
    "a few requests are throttled": [Refusal(status=429, times=3)],
    "uploads are refused, and told when to come back": [
        Refusal(status=503, method="PUT", times=3, retry_after_seconds=1)
    ],
    "one in ten is refused or dropped": [
        Refusal(status=503, chance=0.07),
        Drop(when="before", chance=0.03),
    ],
    "answers to uploads are lost": [Drop(when="after", method="PUT", times=2)],
    "downloads break off": [Drop(when="within", method="GET", blob="*.mp3", times=2)],
    "all of it is slow": [Delay(seconds=0.05), Bandwidth(bytes_per_second=500_000)],
}


SAMPLE = ("one in ten is refused or dropped", "downloads break off")
CHOSEN = STORAGE if FILES >= 50 else {name: STORAGE[name] for name in SAMPLE}


@pytest.mark.parametrize("faults", CHOSEN.values(), ids=CHOSEN.keys())
async def test_all_are_converted_and_fetched_although_storage_fails(
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
    assert states(report) == {"converted": FILES}
    fetched = [path for path in (tmp_path / "out").iterdir() if path.suffix == ".mp3"]
    assert len(fetched) == FILES
    assert all(path.stat().st_size > 0 for path in fetched)
