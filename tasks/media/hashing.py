"""What a source contains, as a hash: read once, then remembered by path, size and time."""

import hashlib
import os
import threading
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from prefect import task
from prefect.cache_policies import INPUTS, TASK_SOURCE

from tasks.concurrency import map_in_threads
from tasks.media.addresses import is_blob
from tasks.models import Source
from tasks.stage import unvisited

CHUNK_BYTES = 1024 * 1024
SHARD_FILES = 250  # at most: a task run for each is most of what a rerun costs
Stamp = tuple[str, int, str]  # path, size in bytes, version


async def hash_sources(sources: Sequence[Source]) -> dict[Source, str]:
    """The content hash of each source; one that cannot be read any more is left out."""
    contents = {source: hash_of_blob(source) for source in sources if is_blob(source)}
    for shard in shards(source for source in sources if not is_blob(source)):
        digests = await hash_files(
            unvisited([(s.location, s.size_bytes, s.version) for s in shard])
        )
        contents.update(zip(shard, digests.split("\n"), strict=True))
        # What could not be read when the shard was first hashed may be readable by now.
        unread = [source for source in shard if not contents[source]]
        again = await map_in_threads(_hash_file, [source.location for source in unread])
        contents.update(zip(unread, again, strict=True))
    return {source: digest for source, digest in contents.items() if digest}


def hash_of_blob(source: Source) -> str:
    """A blob's own checksum, or its ETag, which is new at each change, but is no checksum."""
    return hashlib.sha256(f"{source.version}:{source.size_bytes}".encode()).hexdigest()


def shards(sources: Iterable[Source]) -> list[list[Source]]:
    """Some two hundred files each, by their paths: a new file spoils one shard's memory only."""
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
async def hash_files(stamps: list[Stamp]) -> str:
    """SHA-256 in hex, a line for each; an empty one for a file that cannot be read.

    In one text, because Prefect keeps a record of each part of a result until the run ends.
    """
    paths = [path for path, _, _ in stamps]
    return "\n".join(await map_in_threads(_hash_file, paths))


def _hash_file(path: str, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:  # noqa: PTH123  see naming.py
            while not stop.is_set() and (chunk := file.read(CHUNK_BYTES)):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()
