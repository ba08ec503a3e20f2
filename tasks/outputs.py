"""The outputs: their listing, their download, and what nodes logged about them."""

import logging
import os
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient

from tasks.azure.clients import blob_service
from tasks.azure.listing import list_blobs, list_names
from tasks.azure.stamps import KEY_METADATA, read_stamp, without_key
from tasks.causes import MISMATCH_STATUS
from tasks.concurrency import map_concurrently
from tasks.errors import DownloadError
from tasks.files import local_path, move_aside, open_atomically
from tasks.media.verification import Verified, read_marker
from tasks.models import BatchResult, Conversion, Evidence, Stamp, Ticket
from tasks.naming import (
    batch_task_id,
    is_reserved,
    key_and_attempt,
    log_container,
    log_folder,
    log_name,
    logged_task,
)
from tasks.parameters import Output, Request
from tasks.results.text import counted
from tasks.source_versions import find_source_problems
from tasks.stage import stage

TAIL_BYTES = 4096
AT_ONCE = 8
COARSEST_TIME_SECONDS = 2  # the resolution of times on FAT
logger = logging.getLogger(__name__)


async def list_outputs(service: BlobServiceClient, container: str, prefix: str) -> dict[str, Stamp]:
    """Return the stamp of each output by its name. One listing says what is done."""
    return {name: stamp async for name, stamp in _list_stamps(service, container, prefix)}


async def _list_stamps(
    service: BlobServiceClient, container: str, prefix: str
) -> AsyncIterator[tuple[str, Stamp]]:
    folder = prefix.rstrip("/") + "/" if prefix else ""
    with suppress(ResourceNotFoundError):
        async for blob in list_blobs(service.get_container_client(container), folder):
            if is_reserved(blob.name):
                continue
            yield blob.name, read_stamp(blob.metadata, blob.size_bytes)


@stage("outputs")
async def collect_outputs(
    pending: Iterable[Conversion],
    batch_results: Iterable[BatchResult],
    *,
    ticket: Ticket,
    request: Request,
) -> Evidence:
    """Return the evidence for each conversion: its output, what was verified, and its stderr.

    Outputs of replaced sources lose their key: they are not of the content that it stands for.
    """
    folder = log_folder(ticket.lock_id, ticket.run_id)
    keys = {c.output: c.key for c in pending}
    failed = [batch_task_id(r.key, r.attempt) for r in batch_results if r.state == "failed"]
    async with blob_service() as service:
        sizes = await _list_sizes(service, request.output, keys)
        converted = {r.key for r in batch_results if r.state == "succeeded"}
        if not request.run.force:  # with it, outputs may be from an earlier run
            converted |= sizes.keys()
        problems = await _find_problems(service, pending, batch_results, converted=converted)
        spoilt = {n: key for n, key in keys.items() if key in converted and key in problems}
        await remove_keys(service.get_container_client(request.output.container), spoilt)
        logs = service.get_container_client(log_container(request.cleanup.container))
        own = {key: key for key in keys.values()}  # one string per key, however often it is read
        verified = {
            own[key]: value async for key, value in _list_verified(logs, ticket) if key in own
        }
        tails = await map_concurrently(
            lambda name: read_tail(logs, folder + log_name(name, ticket.log_secret)),
            failed,
            at_once=AT_ONCE,
        )
    return Evidence(
        sizes={key: size for key, size in sizes.items() if key not in problems},
        verified=verified,
        tails=dict(zip(failed, tails, strict=True)),
        source_problems=problems,
        ffmpeg_versions=frozenset({found.version for found in verified.values()} - {""}),
    )


async def _list_sizes(
    service: BlobServiceClient, output: Output, keys: Mapping[str, str]
) -> dict[str, int]:
    """Return the bytes of each output that has its key, by key. `keys` has the keys by name."""
    return {
        keys[name]: stamp.size_bytes
        async for name, stamp in _list_stamps(service, output.container, output.prefix)
        if stamp.key == keys.get(name)
    }


async def _find_problems(
    service: BlobServiceClient,
    pending: Iterable[Conversion],
    batch_results: Iterable[BatchResult],
    *,
    converted: Collection[str],
) -> dict[str, str]:
    """Return, by key, why a node did not convert the content that was planned."""
    mismatched = {r.key for r in batch_results if r.exit_code == MISMATCH_STATUS}
    ended = (c for c in pending if c.key in converted or c.key in mismatched)
    return await find_source_problems(service, ended, mismatched=mismatched)


async def remove_keys(outputs: ContainerClient, keys: Mapping[str, str]) -> None:
    """Remove its key from each of these outputs, so that no run believes it."""

    async def remove(name: str) -> None:
        with suppress(ResourceNotFoundError, ResourceModifiedError):  # it is another output now
            await remove_key(outputs.get_blob_client(name), keys[name])

    await map_concurrently(remove, keys, at_once=AT_ONCE)


async def remove_key(output: BlobClient, key: str) -> None:
    """Remove the key from an output that still has it. Keep its other metadata."""
    properties = await output.get_blob_properties()
    if properties.metadata.get(KEY_METADATA) == key:
        await output.set_blob_metadata(
            without_key(properties.metadata),
            etag=properties.etag,
            match_condition=MatchConditions.IfNotModified,
        )


async def _list_verified(
    logs: ContainerClient, ticket: Ticket
) -> AsyncIterator[tuple[str, Verified]]:
    """Yield what nodes verified, by key. It is in the names of marker blobs."""
    start = log_folder(ticket.lock_id, ticket.run_id)
    async for name in list_names(logs, start):
        folder, _, file = name.removeprefix(start).partition("/")
        batch_task = logged_task(folder, ticket.log_secret)
        if batch_task and (found := read_marker(file)):
            yield key_and_attempt(batch_task)[0], found


async def read_tail(logs: ContainerClient, folder: str) -> str:
    """Return the end of a batch task's stderr, or nothing if its node did not upload it."""
    blob = logs.get_blob_client(f"{folder}/stderr.txt")
    try:
        size = (await blob.get_blob_properties()).size
        stream = await blob.download_blob(offset=max(0, size - TAIL_BYTES)) if size else None
    except ResourceNotFoundError:
        return ""
    return (await stream.readall()).decode(errors="replace").strip() if stream else ""


@stage("download")
async def download_outputs(names: Iterable[str], *, output: Output) -> None:
    """Download outputs to the folder, except those that are there already.

    Raises:
        DownloadError: A file cannot be written.
    """
    async with blob_service() as service:
        container = service.get_container_client(output.container)

        async def fetch(name: str) -> bool:
            return await download(container.get_blob_client(name), local_target(name, output))

        fetched = await map_concurrently(fetch, names, at_once=AT_ONCE)
    if any(fetched):
        logger.info("Downloaded %s to %s", counted(sum(fetched), "file"), output.download_to)


def local_target(name: str, output: Output) -> Path:
    """Return where an output is downloaded to."""
    return local_path(output.download_to) / PurePosixPath(name).relative_to(output.prefix)


async def download(blob: BlobClient, target: Path) -> bool:
    """Download one blob completely or not at all. Return whether it was necessary."""
    properties = await blob.get_blob_properties()  # a download would begin with 4 MiB
    modified = properties.last_modified.timestamp()
    if is_same(target, size_bytes=properties.size, modified=modified):
        return False
    stream = await blob.download_blob(max_concurrency=1)
    try:
        with open_atomically(target) as file:
            await stream.readinto(file)
            file.flush()
            os.utime(file.fileno(), (modified, modified))  # the blob's time, not this machine's
            move_aside(target)
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be written: {error.strerror}.",
            "Free disk space or choose another folder, then run again: converted files are kept.",
        ) from error
    return True


def is_same(target: Path, *, size_bytes: int, modified: float) -> bool:
    """Return whether a file is a copy of the blob: it has the same size and is not older."""
    try:
        found = target.stat()
    except OSError:
        return False
    return found.st_size == size_bytes and found.st_mtime >= modified - COARSEST_TIME_SECONDS
