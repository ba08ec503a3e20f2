from base64 import b64encode
from xml.etree.ElementTree import Element, SubElement

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobServiceClient

from storage_proxy import Drop, Fault, Refusal, StorageProxy
from tasks.azure.clients import blob_service
from tasks.azure.listing import (
    ListedBlob,
    list_blobs,
    list_leases,
    list_names,
    list_pages,
    read_blob,
    read_lease,
)


async def listed(container: str, prefix: str = "", *, min_page_size: int = 2) -> list[ListedBlob]:
    async with blob_service() as service:
        client = service.get_container_client(container)
        return [b async for b in list_blobs(client, prefix, min_page_size=min_page_size)]


async def test_blobs_are_listed_with_the_values_that_the_sdk_reads(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    for name in ("a&b.mp3", "日 本/%41 .mp3", "<c>.mp3", "d"):
        container.upload_blob(name, b"media", metadata={"owner": "we", "Key": "1 < 2"})
    in_blocks = container.get_blob_client("e")
    in_blocks.stage_block("1", b"media")
    in_blocks.commit_block_list([BlobBlock("1")])
    assert await listed(containers[0]) == [
        ListedBlob(
            name=blob.name,
            size_bytes=blob.size,
            etag=blob.etag,
            md5=b64encode(blob.content_settings.content_md5 or b"").decode(),
            metadata=blob.metadata or {},
        )
        for blob in container.list_blobs(include=["metadata"])
    ]


async def test_only_names_with_the_prefix_are_listed_in_pages(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    for name in ("a/1", "a/2", "a/3", "b/1"):
        container.upload_blob(name, b"media")
    async with blob_service() as service:
        client = service.get_container_client(containers[0])
        pages = [page async for page in list_pages(client, "a/", min_page_size=2)]
        names = [name async for name in list_names(client, "a/")]
    assert [[blob.name for blob in page] for page in pages] == [["a/1", "a/2"], ["a/3"]]
    assert names == ["a/1", "a/2", "a/3"]


async def test_a_listing_of_leases_says_which_are_in_force(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    for name in ("free", "held", "released", "broken"):
        container.upload_blob(name, b"", metadata={"owner": "we"})
    container.get_blob_client("held").acquire_lease(15)
    container.get_blob_client("released").acquire_lease(15).release()
    container.get_blob_client("broken").acquire_lease(15).break_lease(0)
    async with blob_service() as service:
        found = await list_leases(service.get_container_client(containers[0]), "")
    assert [blob.name for blob in found if blob.is_leased] == ["held"]
    assert [blob.metadata for blob in found] == [{"owner": "we"}] * 4


@pytest.mark.parametrize(("status", "is_leased"), [("locked", True), ("unlocked", False)])
def test_a_lease_that_has_expired_is_not_in_force(
    status: str,
    is_leased: bool,  # noqa: FBT001  a table
) -> None:
    blob = Element("Blob")
    properties = SubElement(blob, "Properties")
    SubElement(properties, "LeaseStatus").text = status
    assert read_lease(blob).is_leased is is_leased


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize(
    "fault",
    [
        Drop(comp="list", when="within", times=1),
        Refusal(comp="list", status=503, times=1),
    ],
)
async def test_an_interrupted_listing_has_each_blob_once(
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    storage_faults: StorageProxy,
    fault: Fault,
) -> None:
    container = blobs.create_container(containers[0])
    names = [f"{number}" for number in range(5)]
    for name in names:
        container.upload_blob(name, b"media")
    found = []
    async with blob_service() as service:
        storage_faults.order(fault)
        async for page in list_pages(service.get_container_client(containers[0]), min_page_size=2):
            found += [blob.name for blob in page]
            storage_faults.order(fault)  # also for the next page
    assert found == names


@pytest.mark.usefixtures("account")
async def test_a_missing_container_is_an_error(containers: tuple[str, str]) -> None:
    with pytest.raises(ResourceNotFoundError):
        await listed(containers[0])


def test_a_name_with_characters_outside_xml_is_percent_decoded() -> None:
    """The protocol encodes such names since version 2021-02-12, but Azurite does not."""
    blob = Element("Blob")
    SubElement(blob, "Name", Encoded="true").text = "a%EF%BF%BEb"
    assert read_blob(blob).name == "a\ufffeb"
