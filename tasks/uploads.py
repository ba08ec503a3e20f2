"""A wave's sources on their way into the input container."""

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import BinaryIO

from azure.storage.blob.aio import BlobClient

from tasks.azure.clients import CONNECTIONS, PUT_BYTES, blob_service
from tasks.concurrency import map_concurrently
from tasks.media.addresses import is_blob
from tasks.models import Conversion, Refusal, Source, Ticket
from tasks.naming import OWN, input_blob
from tasks.parameters import Request
from tasks.results.text import counted
from tasks.stage import stage

CHANGED = "it changed while the run went on: run again"
logger = logging.getLogger(__name__)


@stage("upload", "upload wave {wave}")
async def upload_wave(
    conversions: Sequence[Conversion],
    *,
    wave: int,
    ticket: Ticket,
    request: Request,
    present: Collection[str],
) -> tuple[Refusal, ...]:
    """Upload what is not `present` yet; equal files once. Blobs as sources stay where they are.

    Returns:
        A refusal for each source that could not be read as it was when it was planned.
    """
    wanted = missing_inputs(conversions, present)
    of = counted(len(conversions), "file")
    logger.info("Wave %d: %d of %s to upload", wave, len(wanted), of)
    async with blob_service() as service:
        inputs = service.get_container_client(request.cleanup.container)

        async def send(content: str) -> str | None:
            blob = inputs.get_blob_client(input_blob(ticket.lock_id, content))
            return await upload_any(blob, wanted[content])

        reasons = await map_concurrently(send, wanted, at_once=request.limits.uploads_at_once)
    failed = {content: reason for content, reason in zip(wanted, reasons, strict=True) if reason}
    return tuple(
        Refusal(c.source, failed[c.content], c.output, c.preset)
        for c in conversions
        if c.content in failed
    )


def missing_inputs(
    conversions: Iterable[Conversion], present: Collection[str]
) -> dict[str, list[Source]]:
    """The sources that have it, for each content that is to be uploaded."""
    wanted: dict[str, list[Source]] = defaultdict(list)
    for conversion in conversions:
        if is_missing(conversion, present):
            wanted[conversion.content].append(conversion.source)
    return wanted


def is_missing(conversion: Conversion, present: Collection[str]) -> bool:
    """Whether its source is to be uploaded: nodes read those in a container where they are."""
    return conversion.content not in present and not is_blob(conversion.source)


async def upload_any(blob: BlobClient, sources: Iterable[Source]) -> str | None:
    """Stream the first up that can be read as it was. Returns the reason if none can."""
    reason = None
    for source in sources:
        try:
            reason = await upload(blob, source)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        if reason is None:
            break
    return reason


async def upload(blob: BlobClient, source: Source) -> str | None:
    """Stream one file up. Returns the reason if it is not what it was when it was planned."""
    with open(source.location, "rb") as file:  # noqa: ASYNC230, PTH123  opens at once; naming.py
        if has_changed(file, source):
            return CHANGED
        await blob.upload_blob(
            file,
            length=source.size_bytes,
            overwrite=True,
            max_concurrency=CONNECTIONS,
            metadata=OWN,
            # Azurite checks blocks without a sum by one of its own, in JavaScript: 14 ms a MB.
            validate_content="md5" if source.size_bytes > PUT_BYTES else False,
        )
        if has_changed(file, source):  # the blob bears the hash of what was there before
            await blob.delete_blob()
            return CHANGED
    return None


def has_changed(file: BinaryIO, source: Source) -> bool:
    found = os.fstat(file.fileno())
    return (found.st_size, str(found.st_mtime_ns)) != (source.size_bytes, source.version)
