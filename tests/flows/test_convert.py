"""The whole pipeline, through the real SDKs, Azurite, the local Batch service and ffmpeg."""

import asyncio
import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import pytest
from azure.batch import BatchClient, models
from azure.storage.blob import BlobClient, BlobLeaseClient, BlobServiceClient

from flows.cli.display import print_report
from flows.convert import convert as convert_flow
from media import CLIP_SUFFIXES
from storage_proxy import Hold, RecordedRequest, StorageProxy
from tasks.errors import FilesFailedError, OutputInUseError, PreflightError, UsageError
from tasks.media.suffixes import SUFFIXES
from tasks.naming import OWN, lock_blob, lock_id, record_blob
from tasks.parameters import Limits, Node, Output, Pool, Run
from tasks.results.listeners import listening
from tasks.results.progress import Progress
from tasks.results.run_report import Report

Library = Callable[..., Path]
Convert = Callable[..., Any]


def states(report: Report) -> dict[str, str]:
    return {file.source: file.state for file in report.files}


def outputs(report: Report) -> dict[str, str | None]:
    return {file.source: file.output for file in report.files}


@pytest.mark.accounts("key", "entra")
async def test_a_run_uses_the_accounts_of_the_block_that_it_names(
    convert: Convert, library: Library, block: str, unset: Callable[[], None], tmp_path: Path
) -> None:
    unset()
    report = await convert(
        library("a.mp4"), run=Run(account=block), output={"download_to": str(tmp_path / "out")}
    )
    assert states(report) == {"a.mp4": "converted"}
    assert (tmp_path / "out" / "a.mp3").stat().st_size > 0


# Each suffix, with one of the same format that clips may have. The tests cannot make every format.
OF_SAME_FORMAT = {
    suffix: min(CLIP_SUFFIXES.intersection(suffixes))
    for suffixes in SUFFIXES.values()
    for suffix in suffixes
    if CLIP_SUFFIXES.intersection(suffixes)
}


@pytest.mark.parametrize(
    "suffixes",
    [
        [".aifc", ".au", ".divx", ".eac3", ".mod", ".mpga", ".qt", ".tta", ".w64", ".weba"],
        pytest.param(list(OF_SAME_FORMAT), marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
async def test_a_folder_converts_every_format(
    convert: Convert, clip: Callable[..., Path], suffixes: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "library"
    folder.mkdir()
    for suffix in suffixes:
        shutil.copy(clip(OF_SAME_FORMAT[suffix]), folder / f"a{suffix}")
    report = await convert(folder)
    assert states(report) == {f"a{suffix}": "converted" for suffix in suffixes}
    assert all(file.output_seconds == pytest.approx(2, abs=0.2) for file in report.files)


@pytest.mark.accounts("key", "entra")
async def test_each_clip_becomes_an_mp3_of_the_same_length_at_192_kilobits(
    convert: Convert, library: Library, tmp_path: Path
) -> None:
    report = await convert(library("a.mp4", "b.mp4"), output={"download_to": str(tmp_path / "out")})
    assert states(report) == {"a.mp4": "converted", "b.mp4": "converted"}
    for file in report.files:
        with av.open(str(tmp_path / "out" / str(file.output))) as media:
            stream = media.streams.audio[0]
            assert stream.codec_context.name in ("mp3", "mp3float")
            assert stream.codec_context.bit_rate == 192_000
            assert media.duration is not None
            assert media.duration / 1_000_000 == pytest.approx(file.source_seconds, abs=0.1)
        assert file.output_seconds == pytest.approx(file.source_seconds, abs=0.1)
        assert file.exit_code == 0


async def test_a_run_leaves_only_its_outputs_and_their_picture(
    convert: Convert,
    library: Library,
    batch: BatchClient,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
) -> None:
    report = await convert(library("a.mp4"))
    output, cleanup = (blobs.get_container_client(name) for name in containers)
    assert [blob.name for blob in output.list_blobs()] == ["a.mp3", report.run.picture]
    assert list(cleanup.list_blob_names()) == []
    jobs = [job.id for job in batch.list_jobs() if job.state != models.BatchJobState.DELETING]
    assert report.run.job not in jobs
    pools = [pool.id for pool in batch.list_pools() if pool.state != models.BatchPoolState.DELETING]
    assert report.run.pool not in pools


@pytest.mark.accounts("key", "entra")
async def test_an_output_has_its_key_source_and_content_type(
    convert: Convert, library: Library, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    await convert(library("it's é.mp4"))
    blob = blobs.get_blob_client(containers[0], "it's é.mp3").get_blob_properties()
    assert blob.content_settings.content_type == "audio/mpeg"
    assert len(blob.metadata["convertkey"]) == 32
    assert blob.metadata["convertpreset"] == "mp3"
    assert blob.metadata["convertsource"].endswith("/it%27s%20%C3%A9.mp4")


@pytest.mark.accounts("key", "entra")
async def test_a_rerun_skips_converted_sources_and_creates_nothing(
    convert: Convert, library: Library, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    folder = library("a.mp4", "b.mp4")
    await convert(folder)
    first = {
        b.name: b.last_modified for b in blobs.get_container_client(containers[0]).list_blobs()
    }
    blobs.delete_container(containers[1])
    report = await convert(folder)
    assert states(report) == {"a.mp4": "skipped", "b.mp4": "skipped"}
    again = {
        b.name: b.last_modified for b in blobs.get_container_client(containers[0]).list_blobs()
    }
    assert again == first
    assert not blobs.get_container_client(containers[1]).exists()


async def test_a_rerun_downloads_outputs_that_are_not_downloaded_yet(
    convert: Convert, library: Library, tmp_path: Path
) -> None:
    folder = library("a.mp4")
    await convert(folder)
    await convert(folder, output={"download_to": str(tmp_path / "out")})
    assert (tmp_path / "out" / "a.mp3").stat().st_size > 0


async def test_force_converts_again(convert: Convert, library: Library) -> None:
    folder = library("a.mp4")
    await convert(folder)
    report = await convert(folder, run=Run(force=True))
    assert states(report) == {"a.mp4": "converted"}


async def test_another_preset_converts_the_source_again(convert: Convert, library: Library) -> None:
    folder = library("a.mp4")
    await convert(folder)
    report = await convert(folder, output={"presets": ["flac"]})
    assert outputs(report) == {"a.mp4": "a.flac"}
    assert states(report) == {"a.mp4": "converted"}


async def test_several_presets_share_an_upload_and_each_has_a_row(
    convert: Convert,
    library: Library,
    clip: Callable[..., Path],
    blobs: BlobServiceClient,
    containers: tuple[str, str],
) -> None:
    folder = library("a.mp4")
    shutil.copy(clip(".wav"), folder / "b.wav")
    output = {"presets": ["webm", "mp3-320k", "mp3"]}
    report = await convert(folder, output=output, cleanup={"inputs": "keep"})
    assert [(f.source, f.preset, f.output, f.state) for f in report.files] == [
        ("a.mp4", "mp3", "a.mp3", "converted"),
        ("a.mp4", "mp3-320k", "a.mp3-320k.mp3", "converted"),
        ("a.mp4", "webm", "a.webm", "converted"),
        ("b.wav", "mp3", "b.mp3", "converted"),
        ("b.wav", "mp3-320k", "b.mp3-320k.mp3", "converted"),
        ("b.wav", "webm", None, "failed"),
    ]
    assert report.files[-1].reason == "no video stream; preset webm requires one"
    names = blobs.get_container_client(containers[1]).list_blob_names()
    assert len([name for name in names if "/inputs/" in name]) == 2
    again = await convert(
        folder / "a.mp4", output={"presets": ["mp3-320k", "flac"]}, run=Run(dry_run=True)
    )
    assert [(f.output, f.state) for f in again.files] == [
        ("a.mp3-320k.mp3", "skipped"),
        ("a.flac", "not_started"),
    ]
    assert (again.run.dry_run.conversions, again.run.dry_run.uploads) == (1, 1)


async def test_a_changed_source_is_converted_again_to_the_same_output(
    convert: Convert, library: Library, samples: list[Path]
) -> None:
    folder = library("a.mp4")
    await convert(folder)
    shutil.copy(samples[3], folder / "a.mp4")
    report = await convert(folder)
    assert states(report) == {"a.mp4": "converted"}
    assert outputs(report) == {"a.mp4": "a.mp3"}
    assert report.files[0].note.startswith("it replaced an earlier output")


@pytest.mark.accounts("key", "entra")
async def test_bad_sources_fail_with_a_reason_and_good_ones_are_converted(
    convert: Convert, library: Library, clip: Callable[..., Path]
) -> None:
    folder = library("good.mp4")
    whole = clip(".mp4", audio=20, muxer=(("movflags", "faststart"),)).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is not a film\n" * 100)
    shutil.copy(clip(".mp4", audio=0), folder / "silent.mp4")
    report = await convert(folder)
    reasons = {file.source: file.reason or "" for file in report.files}
    assert states(report) == {
        "good.mp4": "converted",
        "cut.mp4": "failed",
        "empty.mp4": "failed",
        "text.mp4": "failed",
        "silent.mp4": "failed",
    }
    assert "the source is cut short (ffmpeg: " in reasons["cut.mp4"]
    assert reasons["empty.mp4"] == "the file is empty"
    assert "not a media file" in reasons["text.mp4"]
    assert "no audio stream" in reasons["silent.mp4"]


async def test_nothing_is_created_if_all_sources_are_bad(
    convert: Convert, tmp_path: Path, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    (tmp_path / "empty.mp4").touch()
    report = await convert(tmp_path)
    assert states(report) == {"empty.mp4": "failed"}
    assert not blobs.get_container_client(containers[0]).exists()


async def test_sources_with_unusual_names_are_all_converted(
    convert: Convert, library: Library, tmp_path: Path
) -> None:
    names = {
        "with space.mp4": "with space.mp3",
        'it\'s "quoted".mp4': 'it\'s "quoted".mp3',
        "$(touch pwned).mp4": "$(touch pwned).mp3",
        "a;b&c|d`e`.mp4": "a;b&c|d`e`.mp3",
        "-dash.mp4": "-dash.mp3",
        "100%.mp4": "100%.mp3",
        "#hash?.mp4": "#hash?.mp3",
        "{brace}.mp4": "{brace}.mp3",
        "new\nline.mp4": "new%0Aline.mp3",
        "\x01.mp4": "%01.mp3",
        "back\\slash.mp4": "back%5Cslash.mp3",
        "😀.mp4": "😀.mp3",
        "lec.1.mp4": "lec.1.mp3",
        "lec1.mp4": "lec1.mp3",
        "CLIP.MP4": "CLIP.mp3",
        "one/same.mp4": "one/same.mp3",
        "two/same.mp4": "two/same.mp3",
        "e\u0301.mp4": "e\u0301.mp3",
        "\u00e9.mp4": "\u00e9.mp4.mp3",
        "x" * 240 + ".mp4": "x" * 240 + ".mp3",
    }
    report = await convert(library(*names), output={"download_to": str(tmp_path / "out")})
    assert outputs(report) == names
    assert set(states(report).values()) == {"converted"}
    fetched = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert fetched == {tmp_path / "out" / name for name in names.values()}


async def test_the_same_name_with_two_suffixes_gives_two_outputs(
    convert: Convert, library: Library, clip: Callable[..., Path]
) -> None:
    folder = library("a.mp4")
    shutil.copy(clip(".mov"), folder / "a.mov")
    report = await convert(folder)
    assert outputs(report) == {"a.mp4": "a.mp3", "a.mov": "a.mov.mp3"}
    report = await convert(folder)
    assert outputs(report) == {"a.mp4": "a.mp3", "a.mov": "a.mov.mp3"}
    assert set(states(report).values()) == {"skipped"}


async def test_a_foreign_blob_is_never_overwritten(
    convert: Convert, library: Library, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    output = blobs.create_container(containers[0])
    output.upload_blob("a.mp3", b"foreign")
    report = await convert(library("a.mp4"))
    assert outputs(report) == {"a.mp4": "a.mp4.mp3"}
    assert output.download_blob("a.mp3").readall() == b"foreign"


@pytest.mark.accounts("key", "entra")
async def test_sources_in_a_container_are_converted_without_a_copy(
    convert: Convert, samples: list[Path], blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    source = blobs.create_container(f"source-{uuid.uuid4().hex[:8]}")
    source.upload_blob("talks/day 1.mp4", samples[0].read_bytes())
    source.upload_blob("talks/notes.txt", b"no media")
    report = await convert(f"az://{source.container_name}/talks/", cleanup={"inputs": "keep"})
    assert outputs(report) == {"day 1.mp4": "day 1.mp3"}
    assert set(states(report).values()) == {"converted"}
    names = blobs.get_container_client(containers[1]).list_blob_names()
    assert not [name for name in names if "/inputs/" in name]


async def test_a_rerun_on_a_container_reads_only_its_new_media(
    convert: Convert,
    clip: Callable[..., Path],
    blobs: BlobServiceClient,
    storage_faults: StorageProxy,
    tmp_path: Path,
) -> None:
    media = blobs.create_container(f"source-{uuid.uuid4().hex[:8]}")
    song = clip(".flac", cover="png", tags=(("title", "Day “1”"),))
    media.upload_blob("talks/song.flac", song.read_bytes())
    media.upload_blob("talks/film.mp4", clip(".mp4").read_bytes())
    address = f"az://{media.container_name}/talks/"
    output = {"presets": ["mp3", "wav"], "download_to": str(tmp_path / "out")}
    first = await convert(address, output=output)
    assert [(f.output, f.state) for f in first.files] == [
        ("film.mp3", "converted"),
        ("film.wav", "converted"),
        ("song.mp3", "converted"),
        ("song.wav", "converted"),
    ]
    with av.open(str(tmp_path / "out" / "song.mp3")) as made, av.open(str(song)) as source:
        assert made.metadata["title"] == "Day “1”"
        covers = [next(each.demux(video=0)) for each in (made, source)]
        assert bytes(covers[0]) == bytes(covers[1]) != b""

    storage_faults.requests.clear()
    assert set(states(await convert(address, output=output)).values()) == {"skipped"}
    assert of_container(storage_faults, media.container_name) == [("GET", "list")]

    media.upload_blob("talks/new.mp4", clip(".mp4").read_bytes())
    storage_faults.requests.clear()
    third = await convert(address, output=output)
    assert states(third) == {"film.mp4": "skipped", "new.mp4": "converted", "song.flac": "skipped"}
    read = {r.blob for r in storage_faults.requests if r.blob.endswith((".mp4", ".flac"))}
    assert read == {f"{media.container_name}/talks/new.mp4"}
    written = {r.blob for r in storage_faults.requests if r.method == "PUT"}
    assert not [blob for blob in written if "/inputs/" in blob]


async def test_a_lock_that_is_lost_during_cleanup_does_not_fail_the_run(
    convert: Convert,
    library: Library,
    blobs: BlobServiceClient,
    storage_faults: StorageProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.renewal.RENEWAL_SECONDS", 0.05)
    deletion = Hold(method="POST", comp="batch")
    storage_faults.order(deletion)
    running = asyncio.create_task(convert(library("a.mp4")))
    await storage_faults.first_request(running, lambda request: request.comp == "batch")
    lock = await first_leased(blobs, storage_faults, running)
    BlobLeaseClient(lock).break_lease(0)
    storage_faults.requests.clear()
    await storage_faults.first_request(running, is_about_lease)  # which tells the run
    storage_faults.withdraw(deletion)
    assert states(await running) == {"a.mp4": "converted"}


async def test_a_lock_that_is_lost_while_files_convert_fails_the_run(
    convert: Convert,
    library: Library,
    blobs: BlobServiceClient,
    storage_faults: StorageProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.renewal.RENEWAL_SECONDS", 0.05)
    hold = Hold(sender="node", method="GET", blob="*/inputs/*")
    storage_faults.order(hold)
    running = asyncio.create_task(convert(library("a.mp4")))
    await storage_faults.first_request(running, lambda request: "/inputs/" in request.blob)
    lock = await first_leased(blobs, storage_faults, running)
    BlobLeaseClient(lock).break_lease(0)
    with pytest.raises(OutputInUseError, match="lock on the output was lost"):
        await running
    storage_faults.withdraw(hold)


def is_about_lease(request: RecordedRequest) -> bool:
    return request.comp == "lease"


async def first_leased(
    blobs: BlobServiceClient, proxy: StorageProxy, running: asyncio.Task[Any]
) -> BlobClient:
    """Return the first blob that the run has leased: its lock."""
    lease = await proxy.first_request(running, is_about_lease)
    return blobs.get_blob_client(*lease.blob.split("/", 1))


def of_container(proxy: StorageProxy, container: str) -> list[tuple[str, str]]:
    """Return method and `comp` of each request to the container or its blobs."""
    return [(r.method, r.comp) for r in proxy.requests if r.blob.partition("/")[0] == container]


async def test_a_dry_run_reports_the_work_and_changes_nothing(
    convert: Convert,
    library: Library,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    report = await convert(
        library("a.mp4", "b.mp4", "c.mp4", "d.jpg", "e"),
        run=Run(dry_run=True),
        limits=Limits(price_per_node_hour=2),
    )
    assert "Ignored 2 files: 1 .jpg, 1 without a suffix" in caplog.messages
    assert report.run.dry_run.conversions == 3
    assert report.run.dry_run.uploads == 3
    assert (report.run.dry_run.spot_nodes, report.run.dry_run.slots_per_node) == (1, 8)
    assert 0.08 <= report.run.dry_run.estimate.node_hours < 0.1
    assert report.run.dry_run.estimate.cost == pytest.approx(0.17, abs=0.02)
    assert "5 minutes to boot for the node" in report.run.dry_run.estimate.basis
    checks = {check.what: check.state for check in report.run.dry_run.checks}
    assert checks["reading, writing"] == "passed"
    assert not any(blobs.get_container_client(name).exists() for name in containers)


async def test_equal_files_are_uploaded_once(
    convert: Convert, library: Library, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    folder = library("one/a.mp4")
    (folder / "two").mkdir()
    shutil.copy(folder / "one/a.mp4", folder / "two/a.mp4")
    await convert(folder, cleanup={"inputs": "keep"})
    names = blobs.get_container_client(containers[1]).list_blob_names()
    assert len([name for name in names if "/inputs/" in name]) == 1


async def test_more_files_than_fit_into_a_wave_are_converted_in_several_waves(
    convert: Convert, library: Library
) -> None:
    report = await convert(library(*(f"{n}.mp4" for n in range(5))), limits=Limits(wave_files=2))
    assert set(states(report).values()) == {"converted"}


async def test_a_source_that_is_given_twice_is_converted_once(
    convert: Convert, library: Library
) -> None:
    folder = library("a.mp4")
    report = await convert(folder, folder / "a.mp4")
    assert outputs(report) == {"a.mp4": "a.mp3"}


async def test_the_report_file_contains_every_source(
    convert: Convert, library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "reports" / "r.json"
    await convert(library("a.mp4"), output={"report": str(path)})
    content = json.loads(path.read_text())
    assert content["summary"]["converted"] == 1
    assert [file["source"] for file in content["files"]] == ["a.mp4"]


async def test_a_report_over_a_source_is_refused_and_the_source_is_unchanged(
    convert: Convert, library: Library
) -> None:
    source = library("a.mp4") / "a.mp4"
    before = source.read_bytes()
    with pytest.raises(UsageError, match="would be written, but it is a source"):
        await convert(source, output={"report": str(source)})
    assert source.read_bytes() == before


async def test_sources_of_one_name_are_told_apart_by_their_paths(
    convert: Convert, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = library("one/a.mp4", "two/a.mp4")
    report = await convert(folder / "one", folder / "two")
    assert [(row.source, row.path) for row in report.files] == [
        ("a.mp4", str(folder / "one/a.mp4")),
        ("a.mp4", str(folder / "two/a.mp4")),
    ]
    print_report(report)
    printed = "".join(capsys.readouterr().out.split())
    assert all(row.path in printed for row in report.files)


async def test_a_folder_without_media_files_is_an_error(convert: Convert, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No media files found in"):
        await convert(tmp_path)


async def test_a_download_folder_inside_a_source_is_refused(
    convert: Convert, library: Library
) -> None:
    folder = library("a.mp4")
    with pytest.raises(UsageError, match="is inside the source folder"):
        await convert(folder, output={"download_to": str(folder / "out")})


async def test_a_shared_pool_that_does_not_exist_is_refused(
    convert: Convert, library: Library
) -> None:
    with pytest.raises(PreflightError, match="The pool 'nosuch' does not exist"):
        await convert(library("a.mp4"), pool=Pool(id="nosuch"))


async def test_a_shared_pool_is_used_and_not_deleted(
    convert: Convert, library: Library, batch: BatchClient
) -> None:
    pool_id = f"warm-{uuid.uuid4().hex[:8]}"
    batch.create_pool(warm_pool(pool_id))
    report = await convert(library("a.mp4"), pool=Pool(id=pool_id))
    assert states(report) == {"a.mp4": "converted"}
    assert report.run.slots_per_node == 2  # a run's own pool would have more for a short file
    assert batch.get_pool(pool_id).state == models.BatchPoolState.ACTIVE
    batch.begin_delete_pool(pool_id)


@pytest.mark.accounts("entra")
async def test_nodes_with_a_managed_identity_get_sas_tokens_only_to_write(
    convert: Convert, library: Library, batch: BatchClient, tmp_path: Path
) -> None:
    pool_id = f"warm-{uuid.uuid4().hex[:8]}"
    batch.create_pool(warm_pool(pool_id))
    given = batch.get_pool(pool_id).identity
    assert given
    identity = (given.user_assigned_identities or [])[0].resource_id
    report = await convert(
        library("a b.mp4"),
        pool=Pool(id=pool_id, identity=identity),
        output={"download_to": str(tmp_path / "out")},
        cleanup={"job": "keep"},
    )
    assert outputs(report) == {"a b.mp4": "a b.mp3"}
    assert (tmp_path / "out" / "a b.mp3").stat().st_size > 0
    (task,) = batch.list_tasks(report.run.job)
    files = task.as_dict()
    assert str(files["resourceFiles"]).count(identity) == 2
    assert "sig=" not in str(files["resourceFiles"])
    assert identity not in str(files["outputFiles"])
    batch.begin_delete_job(report.run.job)
    batch.begin_delete_pool(pool_id)


@pytest.mark.accounts("entra")
async def test_a_shared_pool_without_the_identity_is_refused(
    convert: Convert, library: Library, batch: BatchClient
) -> None:
    pool_id = f"warm-{uuid.uuid4().hex[:8]}"
    batch.create_pool(warm_pool(pool_id))
    other = (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity"
        "/userAssignedIdentities/other"
    )
    with pytest.raises(
        PreflightError, match=r"does not have the identity .*/other\. Set .* to one of: /subs"
    ):
        await convert(library("a.mp4"), pool=Pool(id=pool_id, identity=other))
    batch.begin_delete_pool(pool_id)


def warm_pool(pool_id: str) -> models.BatchPoolCreateOptions:
    image = models.BatchVmImageReference(
        publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
    )
    return models.BatchPoolCreateOptions(
        id=pool_id,
        vm_size="Standard_D2ds_v5",
        task_slots_per_node=2,
        target_dedicated_nodes=1,
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
        ),
    )


async def test_a_second_run_uses_the_warm_nodes_of_the_first_with_an_ffmpeg_from_storage(
    convert: Convert,
    library: Library,
    batch: BatchClient,
    blobs: BlobServiceClient,
    tmp_path: Path,
) -> None:
    tools = blobs.create_container(f"tools-{uuid.uuid4().hex[:8]}")
    program = Path(imageio_ffmpeg.get_ffmpeg_exe())
    upload(program, tools.get_blob_client("static/ffmpeg"))
    shared = {
        "pool": Pool(spot_nodes=1, keep_warm_minutes=10),
        "node": Node(ffmpeg=f"az://{tools.container_name}/static/ffmpeg"),
    }
    folder = library("a.mp4")
    first = await convert(folder, **shared, output={"download_to": str(tmp_path / "out")})
    shutil.copy(folder / "a.mp4", folder / "b.mp4")
    second = await convert(folder, **shared)
    assert states(second) == {"a.mp4": "skipped", "b.mp4": "converted"}
    assert first.run.pool == second.run.pool
    assert {file.node for file in (*first.files, *second.files) if file.node} == {
        first.files[0].node
    }
    with av.open(str(tmp_path / "out" / "a.mp3")) as media:
        assert media.metadata["encoder"] == encoder_of(program, tmp_path)
    batch.begin_delete_pool(second.run.pool)
    tools.delete_container()


def upload(file: Path, blob: BlobClient) -> None:
    with file.open("rb") as content:
        blob.upload_blob(content)


def encoder_of(ffmpeg: Path, folder: Path) -> str:
    """Return the name that this ffmpeg writes into its MP3 files."""
    silence = ["-f", "lavfi", "-i", "anullsrc", "-t", "0.1", str(folder / "silence.mp3")]
    subprocess.run([ffmpeg, "-loglevel", "error", *silence], check=True)
    with av.open(str(folder / "silence.mp3")) as media:
        return str(media.metadata["encoder"])


@pytest.mark.parametrize(
    "place", [(0, lock_blob), (1, record_blob)], ids=["lock", "earlier version"]
)
async def test_a_second_run_with_the_same_output_stops_and_names_the_first(
    convert: Convert,
    library: Library,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    place: tuple[int, Callable[[str], str]],
) -> None:
    container = blobs.create_container(containers[place[0]])
    blob = container.get_blob_client(place[1](lock_id(containers[0], "")))
    blob.upload_blob(b"", metadata=OWN | {"job": "convert-1-other", "since": "noon"})
    lease = blob.acquire_lease(lease_duration=60)
    with pytest.raises(OutputInUseError, match="convert-1-other, started noon"):
        await convert(library("a.mp4"), limits=Limits(lock_wait_seconds=0))
    lease.release()
    report = await convert(library("a.mp4"))
    assert states(report) == {"a.mp4": "converted"}
    assert not blob.exists()


async def test_a_script_that_calls_the_flow_gets_an_error_with_the_report(
    account: dict[str, str], containers: tuple[str, str], tmp_path: Path
) -> None:
    assert account
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(FilesFailedError, match="1 failed") as caught:
        await convert_flow([str(tmp_path)], output=Output(container=containers[0]))
    assert isinstance(caught.value.report, Report)


@pytest.mark.usefixtures("free_quota")
async def test_a_run_waits_while_other_pools_use_the_whole_quota(
    convert: Convert, library: Library, batch: BatchClient
) -> None:
    greedy = f"greedy-{uuid.uuid4().hex[:8]}"
    pool = warm_pool(greedy)
    pool.target_dedicated_nodes = 4
    batch.create_pool(pool)
    waits: list[Progress] = []

    def release(event: object) -> None:
        if isinstance(event, Progress) and not event.nodes:
            waits.append(event)
            if len(waits) == 3:
                batch.begin_delete_pool(greedy)

    with listening(release):
        report = await convert(library("a.mp4"))
    assert len(waits) >= 3
    assert states(report) == {"a.mp4": "converted"}
