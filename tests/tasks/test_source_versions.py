import hashlib
from collections.abc import AsyncIterator

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient, ContentSettings
from azure.storage.blob.aio import BlobServiceClient as AsyncService
from records import a_conversion, a_source

from storage_proxy import StorageProxy
from tasks.azure.clients import blob_service
from tasks.media.sources import find_blobs
from tasks.models import Conversion, Source
from tasks.source_versions import (
    DELETED,
    MOST_READS,
    REPLACED,
    WRONG_MD5,
    BlobVersion,
    find_source_problems,
    source_problem,
)

WITH_MD5 = a_source(location="az://media/a.mp4", etag="1", md5="aa")
WITHOUT_MD5 = a_source(location="az://media/a.mp4", etag="1")


@pytest.fixture
def media(blobs: BlobServiceClient, containers: tuple[str, str]) -> ContainerClient:
    return blobs.create_container(f"media-{containers[0]}")


@pytest.fixture
async def service(account: dict[str, str]) -> AsyncIterator[AsyncService]:
    assert account
    async with blob_service() as opened:
        yield opened


@pytest.mark.parametrize(
    ("planned", "present", "is_mismatch", "problem"),
    [
        (WITH_MD5, BlobVersion("1", "aa"), False, None),
        (WITH_MD5, BlobVersion("2", "aa"), False, None),  # only its properties were written
        (WITH_MD5, BlobVersion("2", "bb"), False, REPLACED),
        (WITH_MD5, BlobVersion("2", ""), False, REPLACED),
        (WITH_MD5, None, False, None),  # the node has compared the MD5
        (WITH_MD5, BlobVersion("2", "bb"), True, REPLACED),
        (WITH_MD5, BlobVersion("2", "aa"), True, REPLACED),
        (WITH_MD5, BlobVersion("1", "aa"), True, WRONG_MD5),
        (WITH_MD5, None, True, DELETED),
        (WITHOUT_MD5, BlobVersion("1", ""), False, None),
        (WITHOUT_MD5, BlobVersion("2", ""), False, REPLACED),
        (WITHOUT_MD5, BlobVersion("2", "aa"), False, REPLACED),
        (WITHOUT_MD5, None, False, DELETED),
    ],
)
def test_the_versions_decide_whether_the_planned_content_was_converted(
    planned: Source, present: BlobVersion | None, *, is_mismatch: bool, problem: str | None
) -> None:
    assert source_problem(planned, present, is_mismatch=is_mismatch) == problem


async def planned_sources(service: AsyncService, media: ContainerClient) -> list[Conversion]:
    address = f"az://{media.container_name}"
    found = [source async for source in find_blobs(service, address)]
    return [a_conversion(source, content=source.version) for source in found]


@pytest.mark.parametrize("count", [3, MOST_READS + 3])
async def test_replaced_and_deleted_blobs_are_found_among_few_and_among_many(
    service: AsyncService, media: ContainerClient, count: int
) -> None:
    for number in range(count):
        media.upload_blob(f"talks/{number}.mp4", b"planned")
    planned = await planned_sources(service, media)
    assert {c.source.md5 for c in planned} == {
        hashlib.md5(b"planned", usedforsecurity=False).hexdigest()
    }
    assert await find_source_problems(service, planned, mismatched=()) == {}
    media.upload_blob("talks/0.mp4", b"another", overwrite=True)
    media.get_blob_client("talks/1.mp4").set_blob_metadata({"seen": "yes"})
    media.delete_blob("talks/2.mp4")
    keys = {c.source.name: c.key for c in planned}
    names = {key: name for name, key in keys.items()}
    found = await find_source_problems(
        service, planned, mismatched=[keys["talks/2.mp4"], keys["talks/1.mp4"]]
    )
    assert {names[key]: problem for key, problem in found.items()} == {
        "talks/0.mp4": REPLACED,
        "talks/1.mp4": REPLACED,
        "talks/2.mp4": DELETED,
    }


async def test_a_blob_without_md5_is_compared_by_its_etag(
    service: AsyncService, media: ContainerClient
) -> None:
    blob = media.get_blob_client("a.mp4")
    blob.upload_blob(b"planned")
    blob.set_http_headers(ContentSettings(content_type="video/mp4"))  # removes the MD5
    (planned,) = await planned_sources(service, media)
    assert planned.source.md5 == ""
    assert planned.source.version == planned.source.etag
    assert await find_source_problems(service, [planned], mismatched=()) == {}
    blob.set_http_headers(ContentSettings(content_type="video/webm"))
    found = await find_source_problems(service, [planned], mismatched=())
    assert found == {planned.key: REPLACED}


async def test_the_blobs_of_a_deleted_container_are_deleted(
    service: AsyncService, media: ContainerClient
) -> None:
    for number in range(MOST_READS + 1):
        media.upload_blob(f"{number}.mp4", b"planned")
    planned = await planned_sources(service, media)
    media.delete_container()
    mismatched = {c.key for c in planned}
    found = await find_source_problems(service, planned, mismatched=mismatched)
    assert set(found.values()) == {DELETED}


async def test_local_sources_need_no_request(
    service: AsyncService, storage_faults: StorageProxy
) -> None:
    assert await find_source_problems(service, [a_conversion()], mismatched=()) == {}
    assert storage_faults.requests == []
