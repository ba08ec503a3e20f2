"""What a source contains, as a hash: read once, then remembered by path, size and time."""

import hashlib
import os
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import INPUTS, TASK_SOURCE

from tasks.models import Source
from tasks.sources import is_blob
from tasks.stage import whole
from tasks.threads import in_threads

CHUNK_BYTES = 1024 * 1024
SHARD_FILES = 100
Stamp = tuple[str, int, str]  # path, size in bytes, version


async def hash_sources(sources: Sequence[Source]) -> dict[Source, str]:
    """The content hash of each source; one that cannot be read any more is left out."""
    contents = {source: hash_of_blob(source) for source in sources if is_blob(source)}
    local = [source for source in sources if not is_blob(source)]
    hashes: dict[str, str] = {}
    for shard in shards(local):
        stamps = [(s.location, s.size_bytes, s.version) for s in shard]
        hashes |= await hash_files(whole(stamps))
        # What could not be read when the shard was first hashed may be readable by now.
        hashes |= await hash_files.fn([stamp for stamp in stamps if stamp[0] not in hashes])
    return contents | {s: hashes[s.location] for s in local if s.location in hashes}


def hash_of_blob(source: Source) -> str:
    """A blob's own checksum, or its ETag, which is new at each change, but is no checksum."""
    return hashlib.sha256(f"{source.version}:{source.size_bytes}".encode()).hexdigest()


def shards(sources: Iterable[Source]) -> list[list[Source]]:
    """About a hundred files each, by their paths: a new file spoils one shard's memory only."""
    sources = list(sources)
    count = 1
    while count * SHARD_FILES < len(sources):
        count *= 2  # a power of two, so that a growing library seldom moves the others
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
async def hash_files(stamps: list[Stamp]) -> dict[str, str]:
    """SHA-256 in hex, by path; a file that cannot be read is left out."""
    paths = [path for path, _, _ in stamps]
    hashes = await in_threads(_hash_file, paths)
    return {path: digest for path, digest in zip(paths, hashes, strict=True) if digest}


def _hash_file(path: str, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while not stop.is_set() and (chunk := file.read(CHUNK_BYTES)):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
