"""The slots of nodes in whole runs whose user sets no number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.batch import BatchClient

from tasks.results.run_report import Report

KEEP = {"pool": "keep", "job": "keep"}
Convert = Callable[..., Any]
Library = Callable[..., Path]


def slots_everywhere(report: Report, batch: BatchClient) -> set[object]:
    """Return the slots of the pool, in the report and in the picture. Then delete the pool."""
    pool = batch.get_pool(str(report.run.pool))
    batch.begin_delete_pool(pool.id)
    return {
        pool.task_slots_per_node,
        report.run.slots_per_node,
        *(lane.slots for lane in report.timeline.lanes),
    }


def files_per_vcpu(report: Report, batch: BatchClient) -> set[str | None]:
    """Return what the run tells nodes, so that they limit the memory of each file."""
    settings = [s for t in batch.list_tasks(str(report.run.job)) for s in t.environment_settings]
    batch.begin_delete_job(str(report.run.job))
    return {setting.value for setting in settings if setting.name == "FILES_PER_VCPU"}


async def test_a_run_of_clips_has_four_slots_per_vcpu_with_a_quarter_of_the_memory(
    convert: Convert, library: Library, batch: BatchClient
) -> None:
    report = await convert(library("a.mp4", "b.mp4", "c.mp4"), cleanup=KEEP)
    assert report.is_success
    assert slots_everywhere(report, batch) == {8}
    assert files_per_vcpu(report, batch) == {"4"}


async def test_a_run_of_films_has_one_slot_per_vcpu(
    convert: Convert, library: Library, batch: BatchClient
) -> None:
    report = await convert(library("a.mp4"), output={"presets": ["webm"]}, cleanup=KEEP)
    assert report.is_success
    assert slots_everywhere(report, batch) == {2}
    assert files_per_vcpu(report, batch) == {"1"}
