"""The upload of a wave's sources to the input container."""

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import BinaryIO

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobClient

from tasks.azure.clients import CONNECTIONS, PUT_BYTES, blob_service
from tasks.concurrency import map_concurrently
from tasks.files import open_regular
from tasks.media.addresses import is_blob
from tasks.models import Conversion, Refusal, Source, Ticket
from tasks.naming import OWN, input_blob
from tasks.parameters import Request
from tasks.results.text import counted
from tasks.stage import stage

CHANGED = "it changed during the run: run again"
logger = logging.getLogger(__name__)


@stage("upload", "upload wave {wave}")
async def upload_wave(
    conversions: Sequence[Conversion],
    *,
    wave: int,
    ticket: Ticket,
    request: Request,
    present: set[str],
) -> tuple[Refusal, ...]:
    """Upload the contents that are not `present` yet, each once, and add them to `present`.

    So a retry after an outage continues where this one stopped.

    Returns:
        A refusal for each source that is unreadable or has changed since it was planned.
    """
    missing = missing_inputs(conversions, present)
    files = counted(len(conversions), "file")
    logger.info("Wave %d: %d of %s to upload", wave, len(missing), files)
    async with blob_service() as service:
        inputs = service.get_container_client(request.cleanup.container)

        async def send(content: str) -> str | None:
            blob = inputs.get_blob_client(input_blob(ticket.lock_id, content))
            reason = await upload_any(blob, missing[content])
            if reason is None:
                present.add(content)
            return reason

        reasons = await map_concurrently(send, missing, at_once=request.limits.uploads_at_once)
    failed = {content: reason for content, reason in zip(missing, reasons, strict=True) if reason}
    return tuple(
        Refusal(c.source, failed[c.content], c.output, c.preset)
        for c in conversions
        if c.content in failed
    )


def missing_inputs(
    conversions: Iterable[Conversion], present: Collection[str]
) -> dict[str, list[Source]]:
    """Return the contents to upload, with all sources that have them."""
    missing: dict[str, list[Source]] = defaultdict(list)
    for conversion in conversions:
        if is_missing(conversion, present):
            missing[conversion.content].append(conversion.source)
    return missing


def is_missing(conversion: Conversion, present: Collection[str]) -> bool:
    """Return whether the source must be uploaded. Nodes read blobs from their own container."""
    return conversion.content not in present and not is_blob(conversion.source)


async def upload_any(blob: BlobClient, sources: Iterable[Source]) -> str | None:
    """Upload the first source that is readable and unchanged. Return the reason if none is.

    Then there is no blob either, also if an earlier try of the stage has left one: its name would
    promise another content.
    """
    reason = None
    for source in sources:
        try:
            reason = await upload(blob, source)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        if reason is None:
            return None
    with suppress(ResourceNotFoundError):
        await blob.delete_blob()
    return reason


async def upload(blob: BlobClient, source: Source) -> str | None:
    """Upload one file. Return the reason if it has changed since it was planned."""
    with open_regular(source.location) as file:
        if has_changed(file, source):
            return CHANGED
        await blob.upload_blob(
            file,
            length=source.size_bytes,
            overwrite=True,
            max_concurrency=CONNECTIONS,
            metadata=OWN,
            # Without MD5, Azurite computes a checksum of blocks in JavaScript: 14 ms per MB.
            validate_content="md5" if source.size_bytes > PUT_BYTES else False,
        )
        return CHANGED if has_changed(file, source) else None


def has_changed(file: BinaryIO, source: Source) -> bool:
    found = os.fstat(file.fileno())
    return (found.st_size, str(found.st_mtime_ns)) != (source.size_bytes, source.version)
