"""A node that a hostile media file has taken over, with all that its batch task gave it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobServiceClient

from tasks.naming import batch_task_id, memory_container

Convert = Callable[..., Any]
Library = Callable[..., Path]
Place = tuple[str, str]  # container and name of a blob


@pytest.fixture
async def report(convert: Convert, library: Library, cut: bytes) -> Any:
    """Return the report of a run that kept everything: its job, its uploads and its logs."""
    folder = library("hostile.mp4", "good.mp4")
    (folder / "cut.mp4").write_bytes(cut)
    return await convert(folder, cleanup={"inputs": "keep", "job": "keep"})


@pytest.fixture
def tokens(report: Any, batch: BatchClient) -> set[str]:
    """Return the SAS tokens of the batch task that converted the hostile file."""
    file = next(file for file in report.files if file.source == "hostile.mp4")
    batch_task = batch.get_task(report.run.job, batch_task_id(file.key, 1))
    urls = [str(resource.http_url) for resource in batch_task.resource_files or ()]
    for output in batch_task.output_files or ():
        assert output.destination.container
        urls.append(output.destination.container.container_url)
    return {url.partition("?")[2] for url in urls}


def everything(blobs: BlobServiceClient, *containers: str) -> dict[Place, str]:
    """Return the ETag of each blob in these containers: it changes with every write."""
    return {
        (container, blob.name): blob.etag
        for container in containers
        for blob in blobs.get_container_client(container).list_blobs()
    }


def attacks(blob: BlobClient) -> Iterator[Callable[[], object]]:
    yield lambda: blob.upload_blob(b"hostile", overwrite=True)
    yield lambda: blob.set_blob_metadata({"convertkey": "hostile"})
    yield blob.acquire_lease
    yield blob.delete_blob


def status(attack: Callable[[], object]) -> int:
    try:
        attack()
    except HttpResponseError as error:
        return error.status_code or 0
    return 200


def attack_all(url: str) -> set[int]:
    with BlobClient.from_blob_url(url) as blob:
        return {status(attack) for attack in attacks(blob)}


async def test_a_node_can_change_nothing_but_the_output_of_its_own_file(
    convert: Convert,
    tokens: set[str],
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    tmp_path: Path,
) -> None:
    trusted = (*containers, memory_container(containers[1]))
    before = everything(blobs, *trusted)
    targets = before.keys() - {(containers[0], "hostile.mp3")}
    assert (containers[0], "good.mp3") in targets
    assert len(targets) >= 8  # and the picture, the record, runner.sh, three uploads, the memory
    answers = {
        (name, token): attack_all(f"{blobs.get_blob_client(container, name).url}?{token}")
        for container, name in targets
        for token in tokens
    }
    assert {each: found for each, found in answers.items() if found != {403}} == {}
    assert everything(blobs, *trusted) == before
    again = await convert(tmp_path / "library")
    assert again.headline == "2 skipped, 1 failed in an earlier run"
