"""Finding what is to be converted: files, folders, globs, and `az://container/prefix`.

Each file's path is text; see naming.py.
"""

import glob
import os
import stat
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import UsageError
from tasks.files import local_path
from tasks.media.addresses import AZURE, split_address
from tasks.media.output_names import part_suffix
from tasks.models import Source

if TYPE_CHECKING:  # the command checks sources before anything is imported that takes long
    from azure.storage.blob.aio import BlobServiceClient

    from tasks.azure.listing import ListedBlob

NAME_A_SOURCE = "Name a file, a folder, a glob or az://container/prefix with media files."
UNREADABLE = "unreadable: "  # begins the version of what cannot be read; the reason follows
MEDIA_SUFFIXES = frozenset(
    [
        ".3g2",
        ".3gp",
        ".aac",
        ".ac3",
        ".aif",
        ".aiff",
        ".amr",
        ".asf",
        ".avi",
        ".caf",
        ".f4v",
        ".flac",
        ".flv",
        ".m2ts",
        ".m4a",
        ".m4b",
        ".m4v",
        ".mka",
        ".mkv",
        ".mov",
        ".mp2",
        ".mp3",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".oga",
        ".ogg",
        ".ogv",
        ".opus",
        ".spx",
        ".ts",
        ".vob",
        ".wav",
        ".webm",
        ".wma",
        ".wmv",
        ".wv",
    ]
)


def is_media(name: str) -> bool:
    return part_suffix(name)[1].lower() in MEDIA_SUFFIXES


def find_local(pattern: str) -> Iterator[Source]:
    """The media files that a path or a glob names; a folder's, with all folders below it.

    Raises:
        UsageError: there is nothing of that name, or no name.
    """
    if not pattern:
        raise UsageError("A source is empty.", NAME_A_SOURCE)
    path = local_path(pattern)
    if os.path.isdir(path):  # noqa: PTH112  pathlib's fails where it may not look
        yield from _walk(path, root=path)
    elif os.path.lexists(path):
        yield _local_source(str(path), root=path.parent)
    elif glob.has_magic(pattern):
        yield from _expand(pattern)
    else:
        raise UsageError(f"There is no file or folder {pattern!r}.", "Check the source's name.")


def _expand(pattern: str) -> Iterator[Source]:
    root = _fixed_part(local_path(pattern))
    found = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))  # noqa: PTH111, PTH207  pathlib's glob takes no absolute pattern
    if not found:
        raise UsageError(f"No file matches {pattern!r}.", "Check the pattern.")
    for match in found:
        if os.path.isdir(match):  # noqa: PTH112  as above
            yield from _walk(Path(match), root=root)
        elif is_media(match):
            yield _local_source(match, root=root)


def _fixed_part(pattern: Path) -> Path:
    """The folder above the first part that has a wildcard: outputs mirror what is below it."""
    parts = pattern.parts
    first = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:first])


def starting_points(patterns: Iterable[str]) -> Iterator[Path]:
    """Where the search for local sources begins."""
    for path in (local_path(pattern) for pattern in patterns if not pattern.startswith(AZURE)):
        yield path if os.path.lexists(path) else _fixed_part(path)


def _walk(folder: Path, *, root: Path) -> Iterator[Source]:
    """Links to files are followed, links to folders are not: they may loop.

    A folder that cannot be listed is itself a source, which then cannot be read.
    """
    unread: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if is_media(name) and not name.startswith("."):
                yield _local_source(f"{parent}/{name}", root=root)
    for error in unread:
        yield _unreadable(error.filename, str(error.strerror), root=root)


def _local_source(path: str, *, root: Path) -> Source:
    try:
        found = os.stat(path)  # noqa: PTH116  see above
    except OSError as error:
        return _unreadable(path, str(error.strerror), root=root)
    if not stat.S_ISREG(found.st_mode):
        return _unreadable(path, "it is not a file", root=root)
    return Source(
        *_name_and_location(path, root=root),
        size_bytes=found.st_size,
        version=str(found.st_mtime_ns),
    )


def _unreadable(path: str, reason: str, *, root: Path) -> Source:
    return Source(
        *_name_and_location(path, root=root), size_bytes=0, version=f"{UNREADABLE}{reason}"
    )


def _name_and_location(path: str, *, root: Path) -> tuple[str, str]:
    """Relative to the root, which the path begins with; and where it is."""
    path, top = _plain(path), _plain(str(root))
    parent, name = os.path.split(path)
    # Resolving links would make two sources one; but behind a link, `..` is its target's parent.
    absolute = os.path.realpath if ".." in path.split("/") else os.path.abspath
    return path.removeprefix(top).lstrip("/") or ".", f"{absolute(parent).rstrip('/')}/{name}"


def _plain(path: str) -> str:
    """As pathlib writes it: without what says nothing, but with each `..`."""
    start = "/" if path.startswith("/") else ""
    return start + "/".join(part for part in path.split("/") if part not in ("", "."))


async def find_blobs(service: "BlobServiceClient", address: str) -> AsyncIterator[Source]:
    """The media blobs under `az://container/prefix`.

    Raises:
        UsageError: there is no such container.
    """
    from azure.core.exceptions import ResourceNotFoundError

    from tasks.azure.listing import list_blobs

    container, prefix = split_address(address)
    root = prefix if prefix.endswith("/") else prefix.rpartition("/")[0]
    try:
        async for blob in list_blobs(service.get_container_client(container), prefix):
            # A blob that ends in a slash stands for a folder.
            if is_media(blob.name) or (blob.name == prefix and not prefix.endswith("/")):
                yield _blob_source(blob, container=container, root=root)
    except ResourceNotFoundError:
        raise UsageError(
            f"There is no container {container!r}, which {address!r} names.",
            "Check the name and the storage account.",
        ) from None


def _blob_source(blob: "ListedBlob", *, container: str, root: str) -> Source:
    return Source(
        name=blob.name.removeprefix(root).lstrip("/"),
        location=f"{AZURE}{container}/{blob.name}",
        size_bytes=blob.size_bytes,
        version=b64decode(blob.md5).hex() or blob.etag,
    )


def check_sources(patterns: Iterable[str]) -> None:
    """Fail early for what can be told at once: a local name that leads nowhere.

    Raises:
        UsageError: see `find_local`.
    """
    for pattern in patterns:
        if pattern.startswith(AZURE):
            split_address(pattern)
        else:
            next(find_local(pattern), None)
