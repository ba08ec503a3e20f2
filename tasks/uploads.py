"""The upload of a wave's sources to the input container."""

import logging
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, ContainerClient

from tasks.azure.clients import CONNECTIONS, PUT_BYTES, blob_service
from tasks.concurrency import map_concurrently
from tasks.files import open_regular
from tasks.media.addresses import is_blob
from tasks.media.remuxers import Remuxers
from tasks.models import Conversion, Excerpt, Refusal, Source, Ticket
from tasks.naming import OWN, input_blob, input_name
from tasks.parameters import Request
from tasks.results.text import counted, uploaded
from tasks.stage import stage

CHANGED = "it changed during the run: run again"
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Uploads:
    """The uploads of an attempt.

    Attributes:
        present: Names of those that storage has, as in input_name.
        sent: Bytes that the run has sent, by the key of the first conversion of each upload.
        remuxers: What writes excerpts.
        sent_bytes: Bytes that the attempt has sent.
    """

    present: set[str]
    sent: dict[str, int]
    remuxers: Remuxers
    sent_bytes: int = 0

    def add(self, name: str, conversion: Conversion, size_bytes: int) -> None:
        self.present.add(name)
        self.sent_bytes += size_bytes
        self.sent[conversion.key] = self.sent.get(conversion.key, 0) + size_bytes


@stage("upload", "upload wave {wave}")
async def upload_wave(
    conversions: Sequence[Conversion],
    *,
    wave: int,
    ticket: Ticket,
    request: Request,
    uploads: Uploads,
) -> tuple[Refusal, ...]:
    """Upload the contents that are not present yet, each once, and note them in `uploads`.

    So a retry after an outage continues where this one stopped.

    Returns:
        A refusal for each source that is unreadable or has changed since it was planned.
    """
    missing = missing_inputs(conversions, uploads.present)
    before_bytes, files = uploads.sent_bytes, counted(len(conversions), "file")
    logger.info("Wave %d: %d of %s to upload", wave, len(missing), files)
    async with blob_service() as service:
        inputs = service.get_container_client(request.cleanup.container)
        sender = Sender(inputs, ticket.lock_id, uploads)
        reasons = await map_concurrently(
            sender.send, missing.values(), at_once=request.limits.uploads_at_once
        )
    if sent_bytes := uploads.sent_bytes - before_bytes:
        size_bytes = sum(wanted[0].source.size_bytes for wanted in missing.values())
        logger.info("Wave %d: uploaded %s", wave, uploaded(sent_bytes, size_bytes))
    failed = {content: reason for content, reason in zip(missing, reasons, strict=True) if reason}
    return tuple(
        Refusal(c.source, failed[c.content], c.output, c.preset)
        for c in conversions
        if c.content in failed
    )


@dataclass(frozen=True, slots=True)
class Sender:
    """Uploads contents to the input container."""

    inputs: ContainerClient
    lock_id: str
    uploads: Uploads

    async def send(self, conversions: Sequence[Conversion]) -> str | None:
        """Upload what these conversions of one content need. Return the reason if it is not."""
        first = conversions[0]
        excerpt = excerpt_of(conversions)
        if excerpt is not None and await self._send_excerpt(first, excerpt):
            return None
        sources = [conversion.source for conversion in conversions]
        reason = await upload_any(self._blob(first.content), sources)
        if reason is None:
            self.uploads.add(first.content, first, first.source.size_bytes)
        return reason

    async def _send_excerpt(self, conversion: Conversion, excerpt: Excerpt) -> bool:
        """Upload an excerpt. Return False if the whole source must be sent."""
        source, name = conversion.source, input_name(conversion.content, str(excerpt))
        if has_file_changed(source):
            return False
        claims = sorted(conversion.sounds, key=lambda extent: extent.track)
        async with self.uploads.remuxers.excerpt_file(source, excerpt, claims) as path:
            if path is None or has_file_changed(source):
                return False
            size_bytes = path.stat().st_size
            with path.open("rb") as file:
                await put(self._blob(name), file, size_bytes=size_bytes)
        self.uploads.add(name, conversion, size_bytes)
        return True

    def _blob(self, name: str) -> BlobClient:
        return self.inputs.get_blob_client(input_blob(self.lock_id, name))


def missing_inputs(
    conversions: Iterable[Conversion], present: Collection[str]
) -> Mapping[str, Sequence[Conversion]]:
    """Return the contents to upload, with all conversions that need them."""
    missing: dict[str, list[Conversion]] = defaultdict(list)
    for conversion in conversions:
        if is_missing(conversion, present):
            missing[conversion.content].append(conversion)
    return missing


def is_missing(conversion: Conversion, present: Collection[str]) -> bool:
    """Return whether the source must be uploaded. Nodes read blobs from their own container."""
    if is_blob(conversion.source) or conversion.content in present:
        return False
    return not is_excerpt_present(conversion, present)


def is_excerpt_present(conversion: Conversion, present: Collection[str]) -> bool:
    excerpt = conversion.excerpt
    return bool(excerpt) and input_name(conversion.content, str(excerpt)) in present


def excerpt_of(conversions: Iterable[Conversion]) -> Excerpt | None:
    """Return what to send for all of these conversions of one content. None: the whole source."""
    excerpts = {conversion.excerpt for conversion in conversions}
    return excerpts.pop() if len(excerpts) == 1 else None


def as_sent(conversion: Conversion, present: Collection[str]) -> Conversion:
    """Return the conversion with what it needs for that what was sent: all, or the excerpt."""
    excerpted = conversion.excerpted
    if excerpted is None:
        return conversion
    if conversion.content in present or not is_excerpt_present(conversion, present):
        return replace(conversion, excerpted=None)
    return replace(
        conversion,
        arguments=excerpted.arguments,
        preferred_arguments=excerpted.preferred_arguments,
        sounds=excerpted.sounds,
    )


def has_file_changed(source: Source) -> bool:
    try:
        with open_regular(source.location) as file:
            return has_changed(file, source)
    except OSError:
        return True


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
        await put(blob, file, size_bytes=source.size_bytes)
        return CHANGED if has_changed(file, source) else None


async def put(blob: BlobClient, file: BinaryIO, *, size_bytes: int) -> None:
    await blob.upload_blob(
        file,
        length=size_bytes,
        overwrite=True,
        max_concurrency=CONNECTIONS,
        metadata=OWN,
        # Without MD5, Azurite computes a checksum of blocks in JavaScript: 14 ms per MB.
        validate_content="md5" if size_bytes > PUT_BYTES else False,
    )


def has_changed(file: BinaryIO, source: Source) -> bool:
    found = os.fstat(file.fileno())
    return (found.st_size, str(found.st_mtime_ns)) != (source.size_bytes, source.version)
