"""Content hashes of sources.

Each local file is read once. Then Prefect caches its hash by path, size and modification time.
"""

import hashlib
import os
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from prefect import task
from prefect.cache_policies import INPUTS, TASK_SOURCE

from tasks.concurrency import map_in_threads
from tasks.files import open_regular
from tasks.media.addresses import is_blob
from tasks.models import Source
from tasks.stage import unvisited

CHUNK_BYTES = 1024 * 1024
SHARD_FILES = 250  # at most, on average; one task run per shard is most of the cost of a rerun
FileVersion = tuple[str, int, str]  # path, size in bytes, version


async def hash_sources(sources: Sequence[Source]) -> dict[Source, str]:
    """Return the content hash of each source, without sources that can no longer be read."""
    contents = {source: hash_blob_version(source) for source in sources if is_blob(source)}
    for shard in split_into_shards(source for source in sources if not is_blob(source)):
        digests = await hash_files(
            unvisited([(s.location, s.size_bytes, s.version) for s in shard])
        )
        contents.update(zip(shard, digests.split("\n"), strict=True))
        # Files that could not be read when the shard was hashed may be readable now.
        unread = [source for source in shard if not contents[source]]
        again = await map_in_threads(_hash_file, [source.location for source in unread])
        contents.update(zip(unread, again, strict=True))
    return {source: digest for source, digest in contents.items() if digest}


def hash_blob_version(source: Source) -> str:
    """Return a hash of the blob's version: its MD5, or its ETag, which changes with every write."""
    return hashlib.sha256(f"{source.version}:{source.size_bytes}".encode()).hexdigest()


def split_into_shards(sources: Iterable[Source]) -> list[list[Source]]:
    """Split files into shards by a hash of their paths.

    A new file then changes only one shard, and the cached hashes of the others remain valid.
    """
    sources = list(sources)
    count = 1
    while count * SHARD_FILES < len(sources):
        count *= 2  # a power of two, so that a growing library rarely moves files between shards
    buckets = defaultdict(list)
    for source in sources:
        buckets[zlib.crc32(os.fsencode(source.location)) % count].append(source)
    return [buckets[number] for number in sorted(buckets)]


@task(
    name="hash",
    task_run_name="hash",
    cache_policy=INPUTS + TASK_SOURCE,
    persist_result=True,
    result_serializer="json",
)
async def hash_files(versions: list[FileVersion]) -> str:
    """Return one line per file: its SHA-256 in hex, or nothing if it cannot be read.

    The result is one string because Prefect keeps a record of each part of a result until the run
    ends.
    """
    paths = [path for path, _, _ in versions]
    return "\n".join(await map_in_threads(_hash_file, paths))


def _hash_file(path: str, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while not stop.is_set() and (chunk := file.read(CHUNK_BYTES)):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
