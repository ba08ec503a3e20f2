"""Whole runs over sources that cannot be converted: what later runs do about them."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient

from flows.convert import convert as convert_flow
from tasks.naming import memory_container
from tasks.parameters import Cleanup, Limits, Node, Output, Pool, Run
from tasks.results.run_report import Report

Convert = Callable[..., Any]
Library = Callable[..., Path]


def rows(report: Report) -> dict[str, tuple[str, int]]:
    return {file.source: (file.state, file.attempts) for file in report.files}


@pytest.mark.accounts("key", "entra")
async def test_a_source_at_fault_is_tried_once_and_costs_later_runs_no_pool_and_no_upload(
    convert: Convert,
    library: Library,
    cut: bytes,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
) -> None:
    folder = library("good.mp4")
    (folder / "cut.mp4").write_bytes(cut)
    first = await convert(folder, limits=Limits(retries=3))
    assert rows(first) == {"cut.mp4": ("failed", 1), "good.mp4": ("converted", 1)}

    second = await convert(folder)
    assert rows(second) == {"cut.mp4": ("failed", 0), "good.mp4": ("skipped", 0)}
    assert second.headline == "1 skipped, 1 failed in an earlier run"
    assert (second.run.pool, second.run.job) == (None, None)
    failed, before = second.files[0], first.files[0]
    day = failed.known_since.date()
    note = f"(in an earlier run, {day}; --retry-failed tries again)"
    assert failed.reason == f"{before.reason} {note}"
    assert not list(blobs.get_container_client(containers[1]).list_blob_names())

    (folder / "cut.mp4").rename(folder / "renamed.mp4")  # another output name is another key
    assert rows(await convert(folder))["renamed.mp4"] == ("failed", 1)


async def test_only_known_failures_create_nothing_and_a_run_may_tolerate_them(
    convert: Convert, tmp_path: Path, cut: bytes, containers: tuple[str, str], batch: BatchClient
) -> None:
    (tmp_path / "cut.mp4").write_bytes(cut)
    await convert(tmp_path)
    strict = await convert(tmp_path)
    assert not strict.is_success
    assert "lock" not in {stage.name for stage in strict.timeline.stages}
    state = await convert_flow(
        [str(tmp_path)],
        output=Output(container=containers[0]),
        cleanup=Cleanup(container=containers[1]),
        run=Run(known_failures="warn"),
        return_state=True,
    )
    assert state.is_completed()
    assert state.message == "nothing to do: 1 failed in an earlier run"
    assert (await state.aresult()).is_success
    assert not [p for p in batch.list_pools() if p.id == strict.run.pool]


@pytest.mark.parametrize("run", [Run(retry_failed=True), Run(force=True)], ids=repr)
async def test_a_known_failure_is_tried_again_on_request_and_forgotten_once_it_converts(
    convert: Convert, library: Library, cut: bytes, run: Run
) -> None:
    folder = library("good.mp4")
    good = (folder / "good.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(cut)
    await convert(folder)
    report = await convert(folder, run=run)
    assert rows(report)["cut.mp4"] == ("failed", 1)
    assert report.summary.known_failures == 0
    (folder / "cut.mp4").write_bytes(good)  # repaired: its key is another
    assert rows(await convert(folder))["cut.mp4"] == ("converted", 1)


async def test_a_memory_that_is_not_ours_breaks_no_run_and_is_kept(
    convert: Convert,
    tmp_path: Path,
    cut: bytes,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
) -> None:
    (tmp_path / "cut.mp4").write_bytes(cut)
    await convert(tmp_path)
    container = blobs.get_container_client(memory_container(containers[1]))
    (name,) = container.list_blob_names()
    container.upload_blob(name, b"mine", overwrite=True)
    for _ in range(2):
        assert rows(await convert(tmp_path)) == {"cut.mp4": ("failed", 1)}
    assert container.download_blob(name).readall() == b"mine"


def test_the_exit_status_is_1_for_a_known_failure_and_0_if_the_command_only_warns_of_it(
    started: Callable[..., Any], tmp_path: Path, cut: bytes
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cut.mp4").write_bytes(cut)

    def end(*flags: str) -> tuple[int, str]:
        process = started("in", *flags)
        printed, _ = process.communicate(timeout=120)
        return process.returncode, printed

    assert end()[0] == 1
    assert end()[0] == 1
    status, printed = end("--known-failures", "warn")
    assert (status, "1 failed in an earlier run in " in printed) == (0, True), printed
    status, printed = end("--exclude", "*.part.mp4", "--exclude", "cut.*")
    assert (status, "--exclude leaves out all sources." in printed) == (2, True), printed
    assert "--exclude '*.part.mp4' leaves out no further source." in printed


CRASHING_ONCE = """#!/bin/sh
seen=$AZ_BATCH_NODE_SHARED_DIR/seen
case $* in
    *-progress*) [ -e "$seen" ] || {{ : >"$seen"; kill -SEGV $$; }} ;;
esac
exec {ffmpeg} "$@"
"""


@pytest.fixture
def crashing_once(blobs: BlobServiceClient) -> Iterator[Node]:
    """Yield the parameters of nodes whose first conversion crashes."""
    tools = blobs.create_container(f"tools-{uuid.uuid4().hex[:8]}")
    script = CRASHING_ONCE.format(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())
    tools.upload_blob("ffmpeg", script.encode())
    yield Node(ffmpeg=f"az://{tools.container_name}/ffmpeg")
    tools.delete_container()


@pytest.mark.parametrize(("retries", "ended"), [(0, ("failed", 1)), (1, ("converted", 2))])
async def test_a_crash_of_ffmpeg_is_tried_again_as_often_as_the_limit_says(
    convert: Convert, library: Library, crashing_once: Node, retries: int, ended: tuple[str, int]
) -> None:
    folder, limits = library("a.mp4"), Limits(retries=retries)
    one = Pool(spot_nodes=1)
    assert rows(await convert(folder, limits=limits, pool=one, node=crashing_once)) == {
        "a.mp4": ended
    }
    again = await convert(folder, limits=limits, pool=one, node=crashing_once)
    assert again.summary.known_failures == 0  # a crash is not remembered


async def test_excluded_files_are_left_out_of_the_run(convert: Convert, library: Library) -> None:
    folder = library("a.mp4", "a.part.mp4", "drafts/b.mp4")
    report = await convert(folder, exclude=["*.part.mp4", "drafts/**"])
    assert rows(report) == {"a.mp4": ("converted", 1)}
