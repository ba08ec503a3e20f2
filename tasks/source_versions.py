"""The versions of blob sources: the run compares them with those that it planned."""

import os
from base64 import b64decode
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from tasks.azure.listing import list_blobs
from tasks.concurrency import map_concurrently
from tasks.media.addresses import AZURE, is_blob, split_address
from tasks.models import Conversion, Source

REPLACED = "the source was replaced while the run converted it. Run again"
DELETED = "the source was deleted while the run converted it. Restore it and run again"
WRONG_MD5 = "the source does not have the MD5 that storage states for it. Upload it again"
MOST_READS = 200  # blobs of a container to read one by one: a listing may have many others
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class BlobVersion:
    """The version that a blob has now."""

    etag: str
    md5: str  # in hex; empty if the blob has none


async def find_source_problems(
    service: BlobServiceClient, conversions: Iterable[Conversion], *, mismatched: Collection[str]
) -> dict[str, str]:
    """Return, by key, why a node did not convert the content that was planned.

    `mismatched` has the keys for which a node found another MD5 than the planned one.
    """
    of_blobs = [c for c in conversions if is_blob(c.source)]
    present = await read_versions(service, {c.source.location for c in of_blobs})
    problems = {
        c.key: source_problem(
            c.source, present.get(c.source.location), is_mismatch=c.key in mismatched
        )
        for c in of_blobs
    }
    return {key: problem for key, problem in problems.items() if problem}


def source_problem(
    planned: Source, present: BlobVersion | None, *, is_mismatch: bool
) -> str | None:
    """Return why a node did not convert the content that was planned, or None if it did.

    A write of other properties changes the ETag, but not the MD5, which the node has compared.
    """
    if present is None:
        return DELETED if is_mismatch or not planned.md5 else None
    if present.etag == planned.etag:
        return WRONG_MD5 if is_mismatch else None
    is_equal = planned.md5 and present.md5 == planned.md5 and not is_mismatch
    return None if is_equal else REPLACED


async def read_versions(
    service: BlobServiceClient, locations: Iterable[str]
) -> dict[str, BlobVersion]:
    """Return the version of each blob that exists, by its location."""
    containers: dict[str, set[str]] = defaultdict(set)
    for container, name in map(split_address, locations):
        containers[container].add(name)
    versions = {}
    for container, names in containers.items():
        client = service.get_container_client(container)
        read = read_each if len(names) <= MOST_READS else list_versions
        for name, version in (await read(client, names)).items():
            versions[f"{AZURE}{container}/{name}"] = version
    return versions


async def read_each(
    container: ContainerClient, names: Collection[str]
) -> Mapping[str, BlobVersion]:
    found: dict[str, BlobVersion] = {}

    async def read(name: str) -> None:
        with suppress(ResourceNotFoundError):
            blob = await container.get_blob_client(name).get_blob_properties()
            md5 = bytes(blob.content_settings.content_md5 or b"")
            found[name] = BlobVersion(blob.etag.strip('"'), md5.hex())

    await map_concurrently(read, names, at_once=AT_ONCE)
    return found


async def list_versions(
    container: ContainerClient, names: Collection[str]
) -> Mapping[str, BlobVersion]:
    found: dict[str, BlobVersion] = {}
    with suppress(ResourceNotFoundError):
        prefix = os.path.commonprefix(list(names))  # noqa: RUF071  it may end anywhere in a name
        async for blob in list_blobs(container, prefix):
            if blob.name in names:
                found[blob.name] = BlobVersion(blob.etag, b64decode(blob.md5).hex())
    return found
