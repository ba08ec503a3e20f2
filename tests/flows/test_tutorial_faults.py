"""The twenty faults of the tutorial that this project started from: each is impossible here."""

import asyncio
import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.batch import BatchClient
from azure.storage.blob import BlobServiceClient
from black_hole import black_hole
from records import a_conversion, a_file, a_request, a_ticket

from programs import CONVERT
from tasks.azure.batch_results import SELECT
from tasks.azure.clients import blob_service
from tasks.azure.sas import CLOCK_SKEW, make_signer
from tasks.completion import poll_seconds
from tasks.errors import AccountError, UsageError
from tasks.media.remuxers import Remuxers
from tasks.naming import log_container
from tasks.parameters import Limits
from tasks.uploads import Uploads, upload_wave

ROOT = Path(__file__).parents[2]
Convert = Callable[..., Any]
Library = Callable[..., Path]


def remaining(batch: BatchClient) -> set[str]:
    return {pool.id for pool in batch.list_pools() if pool.state != "deleting"}


def sources() -> list[Path]:
    folders = ("flows", "tasks", "deployments/local/src")
    return [path for name in folders for path in (ROOT / name).rglob("*.py")]


async def test_01_a_run_with_a_failed_file_is_not_a_success(
    convert: Convert, library: Library, clip: Callable[..., Path]
) -> None:
    folder = library("good.mp4")
    whole = clip(".mp4", audio=20, muxer=(("movflags", "faststart"),)).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    report = await convert(folder)
    assert not report.is_success
    assert {file.source: file.state for file in report.files}["cut.mp4"] == "failed"


async def test_02_a_folder_without_media_is_an_error(convert: Convert, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No media files found"):
        await convert(tmp_path)


async def test_03_a_run_that_fails_leaves_no_pool(
    convert: Convert, library: Library, batch: BatchClient, order: Any
) -> None:
    before = remaining(batch)
    order("answer", status=403, operation="POST /jobs/*/addtaskcollection")
    with pytest.raises(AccountError):
        await convert(library("a.mp4"))
    assert remaining(batch) <= before


async def test_04_an_existing_container_and_its_blobs_are_kept(
    convert: Convert, library: Library, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    for name in containers:
        blobs.create_container(name).upload_blob("foreign", b"data")
    await convert(library("a.mp4"))
    for name in containers:
        blob = blobs.get_blob_client(name, "foreign")
        assert blob.download_blob().readall() == b"data"


async def test_05_a_failed_start_task_ends_the_run(
    convert: Convert, library: Library, order: Any
) -> None:
    order("starttask")
    report = await convert(library("a.mp4"))
    assert report.run.diagnosis.code == "StartTaskFailed"
    assert report.summary.seconds < 60


async def test_06_no_file_name_is_run_by_a_shell(convert: Convert, library: Library) -> None:
    report = await convert(library("$(touch pwned).mp4", "`touch pwned`;touch pwned.mp4"))
    assert report.summary.converted == 2
    folders = os.walk(Path(os.environ["XDG_DATA_HOME"]).parent)  # others may disappear meanwhile
    assert not [folder for folder, _, names in folders if "pwned" in names]


def test_07_ffmpeg_neither_asks_nor_reads_stdin() -> None:
    runner = (ROOT / "tasks" / "media" / "runner.sh").read_text()
    assert re.search(r"ffmpeg .*-nostdin -y", runner)


async def test_08_dots_in_names_are_kept(convert: Convert, library: Library) -> None:
    report = await convert(library("lec.1.mp4", "lec1.mp4"))
    assert {file.output for file in report.files} == {"lec.1.mp3", "lec1.mp3"}


async def test_09_files_with_the_same_name_in_two_folders_are_both_converted(
    convert: Convert, library: Library
) -> None:
    report = await convert(library("one/a.mp4", "two/a.mp4"))
    assert {file.output for file in report.files} == {"one/a.mp3", "two/a.mp3"}


async def test_10_capital_suffixes_are_converted(convert: Convert, library: Library) -> None:
    report = await convert(library("CLIP.MP4"))
    assert report.summary.converted == 1


async def test_11_special_characters_do_not_break_urls(convert: Convert, library: Library) -> None:
    report = await convert(library("#1.mp4", "why?.mp4", "100%.mp4", "%41.mp4", "a&b=c+d.mp4"))
    assert report.summary.converted == 5


async def test_12_names_are_not_patterns(convert: Convert, library: Library) -> None:
    report = await convert(library("a[1]*.mp4", "a1.mp4"))
    assert {file.output for file in report.files} == {"a[1]*.mp3", "a1.mp3"}


async def test_13_sas_tokens_permit_one_operation_and_expire_with_the_run(
    account: dict[str, str],
) -> None:
    assert account
    deadline = datetime.now(UTC) + timedelta(minutes=30)
    async with blob_service() as service:
        signer = await make_signer(service, until=deadline + CLOCK_SKEW)
    source = parse_qs(urlsplit(signer.blob_url("input", "a")).query)
    output = parse_qs(urlsplit(signer.upload_url("output", "a")).query)
    assert (source["sr"], source["sp"]) == (["b"], ["r"])
    assert (output["sr"], output["sp"]) == (["b"], ["w"])
    expiry = datetime.fromisoformat(source["se"][0])
    assert timedelta(0) <= expiry - deadline <= CLOCK_SKEW


def test_14_no_host_of_a_cloud_is_hard_coded() -> None:
    hosts = r"windows\.net|azure\.(com|cn|us)|chinacloudapi|usgovcloudapi|microsoftonline"
    names = [path.name for path in sources() if re.search(hosts, path.read_text())]
    assert names == ["directory.py"]  # the audiences of tokens, which are names and not addresses


async def test_15_a_second_run_has_its_own_names(convert: Convert, library: Library) -> None:
    first = await convert(library("a.mp4"))
    second = await convert(library("b.mp4"))
    assert first.run.job != second.run.job
    assert second.summary.converted == 1


def test_16_batch_tasks_are_listed_seldom_and_without_their_files() -> None:
    assert poll_seconds(60) >= 6
    assert "resourceFiles" not in SELECT


async def test_17_logs_are_kept_and_outputs_are_downloaded(
    convert: Convert,
    library: Library,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    tmp_path: Path,
) -> None:
    await convert(
        library("a.mp4"),
        output={"download_to": str(tmp_path / "out")},
        cleanup={"inputs": "keep"},
    )
    assert (tmp_path / "out" / "a.mp3").stat().st_size > 0
    logs = blobs.get_container_client(log_container(containers[1]))
    names = list(logs.list_blob_names())
    assert [name for name in names if name.endswith("/stderr.txt")]


async def test_18_uploads_run_in_parallel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = Limits().uploads_at_once
    assert together > 1
    wave = [a_conversion(a_file(tmp_path / f"{n}.mp4"), content=f"c{n}") for n in range(together)]
    with black_hole(together=together) as hole:  # responds when `together` uploads wait in parallel
        monkeypatch.setenv("AZURE_BATCH_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", hole.connection_string)
        async with asyncio.timeout(30), Remuxers(source_bytes=0, at_once=1) as remuxers:
            uploads = Uploads(set(), {}, remuxers)
            refused = await upload_wave.fn(
                wave, wave=1, ticket=a_ticket(), request=a_request(), uploads=uploads
            )
    assert refused == ()


def test_19_the_command_works_without_a_terminal(
    account: dict[str, str], library: Library, containers: tuple[str, str]
) -> None:
    ended = subprocess.run(
        [*CONVERT, library("a.mp4"), "--container", containers[0]],
        env=os.environ | account,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0


def test_20_no_image_is_hard_coded() -> None:
    tasks = "".join(path.read_text() for path in (ROOT / "tasks").rglob("*.py"))
    assert not re.search(r"\d\d_04|-lts|UbuntuServer", tasks)
