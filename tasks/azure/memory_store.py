"""The blob that holds the memory of failures. It is in a container that nodes cannot write to."""

import json
import logging
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobClient, BlobServiceClient
from pydantic import ValidationError

from tasks.azure.api_errors import has_code, is_transient
from tasks.azure.error_wording import explain
from tasks.failure_memory import Memory
from tasks.naming import OWN, is_own

JSON = ContentSettings(content_type="application/json")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """A memory and the version of its blob. Without `is_writable`, the blob is not ours."""

    memory: Memory = field(default_factory=Memory)
    etag: str | None = None  # None: there is no blob
    is_writable: bool = True


async def read_memory(service: BlobServiceClient, container: str, blob: str) -> StoredMemory:
    """Return the memory. If it cannot be used, log why and return an empty one."""
    client = service.get_blob_client(container, blob)
    place = f"The memory of failures, the blob {blob!r} in the container {container!r},"
    try:
        return await _read(client, place=place)
    except ResourceNotFoundError:
        return StoredMemory()
    except HttpResponseError as error:
        if is_transient(error):
            raise
        warn(f"{place} cannot be read, so it is ignored. {explain(error)}")
        return StoredMemory(is_writable=False)


async def _read(client: BlobClient, *, place: str) -> StoredMemory:
    stream = await client.download_blob()
    if not is_own(stream.properties.metadata):
        warn(f"{place} is ignored: no run created it. Rename it to remember failures.")
        return StoredMemory(is_writable=False)
    return parse_memory(await stream.readall(), etag=stream.properties.etag, place=place)


def parse_memory(content: bytes, *, etag: str, place: str) -> StoredMemory:
    """Return a memory. One of a newer version is kept, and a damaged one is replaced."""
    try:
        document = json.loads(content)
        version = document.get("version")
        if isinstance(version, int) and version > 1:
            warn(f"{place} is ignored: a newer version of this program wrote it.")
            return StoredMemory(etag=etag, is_writable=False)
        return StoredMemory(Memory.model_validate(document), etag)
    except (ValidationError, ValueError, AttributeError, RecursionError):
        warn(f"{place} is damaged, so it is ignored.")
        return StoredMemory(etag=etag)


@cache
def warn(problem: str) -> None:
    """Log a problem once, although a run reads the memory several times."""
    logger.warning(problem)


async def write_memory(
    service: BlobServiceClient, container: str, blob: str, *, stored: StoredMemory, memory: Memory
) -> bool:
    """Replace the memory that was read. Return whether it was still the same."""
    client = service.get_blob_client(container, blob)
    content = memory.model_dump_json().encode()
    try:
        try:
            await _upload(client, content, etag=stored.etag)
        except ResourceNotFoundError as error:
            if not has_code(error, "ContainerNotFound"):
                raise
            await service.create_container(container, metadata=OWN)
            await _upload(client, content, etag=stored.etag)
    except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
        return False
    return True


async def _upload(client: BlobClient, content: bytes, *, etag: str | None) -> None:
    condition: dict[str, Any] = {"overwrite": False}
    if etag:
        condition = {
            "overwrite": True,
            "etag": etag,
            "match_condition": MatchConditions.IfNotModified,
        }
    await client.upload_blob(content, metadata=OWN, content_settings=JSON, **condition)
