import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient, ContentSettings
from records import a_conversion, a_request, a_source, a_ticket

from tasks.azure.clients import blob_service
from tasks.azure.stamps import stamp_metadata
from tasks.errors import DownloadError, UsageError
from tasks.files import move_aside
from tasks.media.verification import read_marker
from tasks.models import BatchResult, Conversion, Stamp, Ticket
from tasks.naming import log_container, log_folder, log_name
from tasks.outputs import (
    collect_outputs,
    download_outputs,
    is_same,
    list_outputs,
    local_target,
    remove_keys,
)
from tasks.parameters import Output, Run
from tasks.source_versions import REPLACED


@pytest.fixture
def container(blobs: BlobServiceClient, containers: tuple[str, str]) -> ContainerClient:
    return blobs.create_container(containers[0])


@pytest.fixture
def download(container: ContainerClient, tmp_path: Path) -> Any:
    """Return a function that downloads outputs to the test's folder `out`."""

    async def run(*names: str, prefix: str = "") -> None:
        folder = str(tmp_path / "out")
        output = Output(container=container.container_name, prefix=prefix, download_to=folder)
        await download_outputs.fn(names, output=output)

    return run


def test_a_download_has_the_outputs_path_without_the_prefix() -> None:
    output = Output(prefix="talks/", download_to="~/out")
    assert local_target("talks/2026/a.mp3", output) == Path.home() / "out/2026/a.mp3"


async def test_outputs_are_listed_with_their_stamps(
    container: ContainerClient,
) -> None:
    metadata = {"convertkey": "k", "convertsource": "/%C3%A9.mp4"}
    container.upload_blob("talks/a.mp3", b"mp3", metadata=metadata)
    container.upload_blob("talks/b.mp3", b"foreign")
    container.upload_blob("talks2/c.mp3", b"foreign")
    async with blob_service() as service:
        found = await list_outputs(service, container.container_name, "talks")
        none = await list_outputs(service, "nosuch", "")
    assert found == {"talks/a.mp3": Stamp("k", "/é.mp4", 3), "talks/b.mp3": Stamp("", "", 7)}
    assert none == {}


def folder_of(batch_task: str, ticket: Ticket) -> str:
    """Return the folder of a batch task's logs."""
    start = log_folder(ticket.lock_id, ticket.run_id)
    return start + log_name(batch_task, ticket.log_secret)


async def test_evidence_comes_from_outputs_markers_and_logs(
    blobs: BlobServiceClient, container: ContainerClient, containers: tuple[str, str]
) -> None:
    one, other = a_conversion(), a_conversion(a_source("b.mp4"))
    container.upload_blob(one.output, b"own", metadata=stamp_metadata(one))
    container.upload_blob(other.output, b"foreign", metadata=stamp_metadata(one))
    ticket, logs = a_ticket(), blobs.create_container(log_container(containers[1]))
    marker = "seconds-7.013_missing-2.000_damaged-2.000_lavf-59.27.100"
    logs.upload_blob(f"{folder_of(f'{one.key}-1', ticket)}/{marker}", b"")
    logs.upload_blob(f"{folder_of(f'{one.key}-2', ticket)}/seconds-", b"")
    logs.upload_blob(f"{folder_of('k2-1', ticket)}/stderr.txt", b"x" * 5000 + b"\xff the end\n")
    logs.upload_blob(f"{folder_of('k3-1', ticket)}/stderr.txt", b"")
    batch_results = [BatchResult(f"k{n}", 1, "failed") for n in (2, 3, 4)]
    found = await collect_outputs.fn(
        [one, other], batch_results, ticket=ticket, request=a_request(containers)
    )
    assert found.sizes == {one.key: 3}
    assert found.verified == {one.key: read_marker(marker)}
    assert found.ffmpeg_versions == {"59.27.100"}
    assert found.tails["k2-1"].endswith("x\ufffd the end")
    assert len(found.tails["k2-1"]) < 4096
    assert (found.tails["k3-1"], found.tails["k4-1"]) == ("", "")


async def test_what_a_node_writes_into_folders_that_it_guessed_is_not_believed(
    blobs: BlobServiceClient, container: ContainerClient, containers: tuple[str, str]
) -> None:
    conversion, ticket = a_conversion(), a_ticket()
    container.upload_blob(conversion.output, b"own", metadata=stamp_metadata(conversion))
    logs = blobs.create_container(log_container(containers[1]))
    start, name = log_folder(ticket.lock_id, ticket.run_id), f"{conversion.key}-1"
    own = folder_of("k2-1", ticket).rpartition("-")[2]  # which the node knows
    for folder in (name, f"{name}-{own}", f"{name}-", "x", "-", f"k2-1-{own}/{name}"):
        for file in ("seconds-1.000_copied_lavf-1.2.3", "stderr.txt"):
            logs.upload_blob(f"{start}{folder}/{file}", b"runner: hostile")
    results = [BatchResult(conversion.key, 1, "failed", exit_code=65)]
    found = await collect_outputs.fn(
        [conversion], results, ticket=ticket, request=a_request(containers)
    )
    assert (found.verified, found.ffmpeg_versions, found.tails) == ({}, frozenset(), {name: ""})


@pytest.fixture
def planned(blobs: BlobServiceClient, containers: tuple[str, str]) -> Conversion:
    """Return a conversion of a blob that has been replaced since."""
    blobs.create_container(log_container(containers[1]))
    media = blobs.create_container(f"media-{containers[0]}")
    blob = media.get_blob_client("a.mp4")
    etag = blob.upload_blob(b"planned")["etag"].strip('"')
    md5 = bytes(blob.get_blob_properties().content_settings.content_md5 or b"").hex()
    blob.upload_blob(b"another", overwrite=True)
    location = f"az://{media.container_name}/a.mp4"
    return a_conversion(a_source(location=location, version=md5, etag=etag, md5=md5))


async def test_an_output_of_a_replaced_source_is_not_believed_and_loses_only_its_key(
    planned: Conversion, container: ContainerClient, containers: tuple[str, str]
) -> None:
    metadata = stamp_metadata(planned) | {"Own": "1 < 2"}
    settings = ContentSettings(content_type="audio/mpeg")
    output = container.upload_blob(
        planned.output, b"mp3", metadata=metadata, content_settings=settings
    )
    results = [BatchResult(planned.key, 1, "succeeded")]
    given: Any = {"ticket": a_ticket(), "request": a_request(containers)}
    for _ in range(2):  # the second time as after an error: the key is gone, but not the reason
        found = await collect_outputs.fn([planned], results, **given)
        assert found.sizes == {}
        assert found.source_problems == {planned.key: REPLACED}
    properties = output.get_blob_properties()
    del metadata["convertkey"]
    assert properties.metadata == metadata
    assert properties.content_settings.content_type == "audio/mpeg"
    assert output.download_blob().readall() == b"mp3"


@pytest.mark.parametrize(
    "result",
    [
        BatchResult("", 1, "failed", exit_code=75, code="FailureExitCode"),
        BatchResult("", 1, "failed", exit_code=1, code="FailureExitCode"),
    ],
)
async def test_the_output_of_an_earlier_run_keeps_its_key_if_a_forced_conversion_fails(
    planned: Conversion,
    container: ContainerClient,
    containers: tuple[str, str],
    result: BatchResult,
) -> None:
    output = container.upload_blob(planned.output, b"mp3", metadata=stamp_metadata(planned))
    request = a_request(containers, run=Run(force=True))
    results = [replace(result, key=planned.key)]
    await collect_outputs.fn([planned], results, ticket=a_ticket(), request=request)
    assert output.get_blob_properties().metadata["convertkey"] == planned.key


async def test_an_output_that_was_written_again_meanwhile_keeps_its_key(
    container: ContainerClient,
) -> None:
    container.upload_blob("a.mp3", b"mp3", metadata={"convertkey": "new"})
    async with blob_service() as service:
        outputs = service.get_container_client(container.container_name)
        await remove_keys(outputs, {"a.mp3": "old", "none.mp3": "old"})
    assert container.get_blob_client("a.mp3").get_blob_properties().metadata == {
        "convertkey": "new"
    }


async def test_outputs_are_downloaded_completely_into_their_folders(
    download: Any, container: ContainerClient, tmp_path: Path
) -> None:
    large = os.urandom(9 * 1024 * 1024)
    container.upload_blob("talks/2026/a.mp3", large)
    container.upload_blob("talks/empty.mp3", b"")
    await download("talks/2026/a.mp3", "talks/empty.mp3", prefix="talks")
    assert (tmp_path / "out/2026/a.mp3").read_bytes() == large
    assert (tmp_path / "out/empty.mp3").read_bytes() == b""
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 2


async def test_an_unchanged_file_is_not_downloaded_again(
    download: Any, container: ContainerClient, tmp_path: Path
) -> None:
    container.upload_blob("a.mp3", b"mp3")
    await download("a.mp3")
    before = (tmp_path / "out/a.mp3").stat()
    await download("a.mp3")
    assert (tmp_path / "out/a.mp3").stat().st_ino == before.st_ino
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mp3"]


async def test_a_downloaded_file_has_the_blobs_time(
    download: Any, container: ContainerClient, tmp_path: Path
) -> None:
    container.upload_blob("a.mp3", b"mp3")
    await download("a.mp3")
    modified = container.get_blob_client("a.mp3").get_blob_properties().last_modified
    assert (tmp_path / "out/a.mp3").stat().st_mtime == modified.timestamp()


async def test_a_file_at_the_target_of_a_download_is_renamed(
    download: Any, container: ContainerClient, tmp_path: Path
) -> None:
    container.upload_blob("a.mp3", b"mp3")
    target = tmp_path / "out" / "a.mp3"
    target.parent.mkdir()
    for content in (b"user's", b"foreign"):
        target.write_bytes(content)
        await download("a.mp3")
    assert target.read_bytes() == b"mp3"
    assert target.with_name("a.mp3~").read_bytes() == b"user's"
    assert target.with_name("a.mp3~2").read_bytes() == b"foreign"


async def test_a_pipe_at_the_target_of_a_download_is_renamed(
    download: Any, container: ContainerClient, tmp_path: Path
) -> None:
    container.upload_blob("a.mp3", b"mp3")
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "a.mp3")
    await download("a.mp3")
    assert (tmp_path / "out" / "a.mp3").read_bytes() == b"mp3"
    assert (tmp_path / "out" / "a.mp3~").is_fifo()


async def test_no_output_is_downloaded_through_a_link_out_of_the_allowed_folders(
    download: Any, container: ContainerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.upload_blob("talks/a.mp3", b"mp3")
    for folder in ("out", "secret"):
        (tmp_path / folder).mkdir()
    (tmp_path / "out" / "talks").symlink_to(tmp_path / "secret")
    monkeypatch.setenv("CONVERT_FOLDERS", str(tmp_path / "out"))
    with pytest.raises(UsageError, match="outside the folders that this deployment allows"):
        await download("talks/a.mp3")
    assert list((tmp_path / "secret").iterdir()) == []


def test_a_broken_link_is_renamed_as_well(tmp_path: Path) -> None:
    target = tmp_path / "a.mp3"
    for _ in range(2):
        target.symlink_to("nowhere")
        move_aside(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp3~", "a.mp3~2"]


async def test_a_new_output_is_downloaded_again(
    download: Any, container: ContainerClient, tmp_path: Path
) -> None:
    container.upload_blob("a.mp3", b"mp3")
    await download("a.mp3")
    container.upload_blob("a.mp3", b"other, longer", overwrite=True)
    await download("a.mp3")
    assert (tmp_path / "out/a.mp3").read_bytes() == b"other, longer"


def test_a_file_is_a_copy_of_the_blob_if_it_has_its_size_and_is_not_older(tmp_path: Path) -> None:
    target = tmp_path / "a.mp3"
    target.write_bytes(b"mp3")
    now = datetime.now(UTC)
    modified = target.stat().st_mtime
    assert is_same(target, size_bytes=3, modified=modified)
    assert is_same(target, size_bytes=3, modified=(now - timedelta(hours=1)).timestamp())
    assert not is_same(target, size_bytes=4, modified=modified)
    assert not is_same(target, size_bytes=3, modified=(now + timedelta(hours=1)).timestamp())
    assert not is_same(tmp_path / "none", size_bytes=3, modified=modified)


@pytest.mark.parametrize("name", ["a.mp3", "file/a.mp3", "x" * 300 + ".mp3"])
async def test_a_folder_that_cannot_be_written_is_an_error(
    download: Any, container: ContainerClient, tmp_path: Path, name: str
) -> None:
    container.upload_blob(name, b"mp3")
    if name == "a.mp3":
        (tmp_path / "out").write_text("a file")
    else:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "file").touch()
    with pytest.raises(DownloadError, match=r"\.mp3 cannot be written: .*converted files are kept"):
        await download(name)
    assert [name for _, _, names in os.walk(tmp_path) for name in names if name[0] == "."] == []


async def test_a_full_disk_is_an_error_and_leaves_no_partial_file(
    container: ContainerClient, small_disk: Path
) -> None:
    container.upload_blob("talks/a.mp3", bytes(9 * 1024 * 1024))
    output = Output(container=container.container_name, download_to=str(small_disk))
    with pytest.raises(DownloadError) as caught:
        await download_outputs.fn(["talks/a.mp3"], output=output)
    assert str(caught.value) == (
        f"{small_disk}/talks/a.mp3 cannot be written: No space left on device."
        " Free disk space or choose another folder, then run again: converted files are kept."
    )
    assert [name for _, _, names in os.walk(small_disk) for name in names] == []


async def test_a_missing_blob_leaves_no_file(
    download: Any, container: ContainerClient, tmp_path: Path
) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    assert container
    with pytest.raises(ResourceNotFoundError):
        await download("a.mp3")
    assert not (tmp_path / "out").exists()
