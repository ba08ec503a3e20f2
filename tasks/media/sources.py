"""Finds the sources: files, folders, globs, and `az://container/prefix`.

Paths are text here; naming.py has the reason.
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
from tasks.media.output_names import split_suffix
from tasks.models import Source

if TYPE_CHECKING:  # the command checks sources before it imports slow modules
    from azure.storage.blob.aio import BlobServiceClient

    from tasks.azure.listing import ListedBlob

NAME_A_SOURCE = "Name a file, a folder, a glob or az://container/prefix with media files."
UNREADABLE = "unreadable: "  # starts the version of an unreadable source; the reason follows
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
    return split_suffix(name)[1].lower() in MEDIA_SUFFIXES


def find_local_files(pattern: str) -> Iterator[Source]:
    """Yield the file at a path, or the media files that a folder or a glob contains at any depth.

    Raises:
        UsageError: The pattern is empty or matches nothing.
    """
    if not pattern:
        raise UsageError("The name of a source is empty.", NAME_A_SOURCE)
    path = local_path(pattern)
    if os.path.isdir(path):  # noqa: PTH112  pathlib raises if it lacks permission
        yield from _walk_folder(path, root=path)
    elif os.path.lexists(path):
        yield _local_source(str(path), root=path.parent)
    elif glob.has_magic(pattern):
        yield from _expand_glob(pattern)
    else:
        raise UsageError(f"There is no file or folder {pattern!r}.", "Check the name.")


def _expand_glob(pattern: str) -> Iterator[Source]:
    root = _fixed_part(local_path(pattern))
    found = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))  # noqa: PTH111, PTH207  pathlib rejects absolute patterns
    if not found:
        raise UsageError(f"No file matches {pattern!r}.", "Check the pattern.")
    for match in found:
        if os.path.isdir(match):  # noqa: PTH112  as above
            yield from _walk_folder(Path(match), root=root)
        elif is_media(match):
            yield _local_source(match, root=root)


def _fixed_part(pattern: Path) -> Path:
    """Return the folder above the first wildcard. Outputs mirror the paths below it."""
    parts = pattern.parts
    first = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:first])


def search_roots(patterns: Iterable[str]) -> Iterator[Path]:
    """Yield the paths where the search for local sources begins."""
    for path in (local_path(pattern) for pattern in patterns if not pattern.startswith(AZURE)):
        yield path if os.path.lexists(path) else _fixed_part(path)


def _walk_folder(folder: Path, *, root: Path) -> Iterator[Source]:
    """Yield the media files in a folder at any depth.

    Links to files are followed. Links to folders are not, because they may form a loop. A folder
    that cannot be listed is yielded as an unreadable source.
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
        found = os.stat(path)  # noqa: PTH116  paths are text
    except OSError as error:
        return _unreadable(path, str(error.strerror), root=root)
    if not stat.S_ISREG(found.st_mode):
        return _unreadable(path, "not a regular file", root=root)
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
    """Return the path relative to the root with which it begins, and the absolute path."""
    path, top = _plain(path), _plain(str(root))
    parent, name = os.path.split(path)
    # Resolved links could turn two sources into one. But `..` after a link is the parent of the
    # link's target.
    absolute = os.path.realpath if ".." in path.split("/") else os.path.abspath
    return path.removeprefix(top).lstrip("/") or ".", f"{absolute(parent).rstrip('/')}/{name}"


def _plain(path: str) -> str:
    """Remove repeated slashes and `.`, but keep `..`, as pathlib does."""
    start = "/" if path.startswith("/") else ""
    return start + "/".join(part for part in path.split("/") if part not in ("", "."))


async def find_blobs(service: "BlobServiceClient", address: str) -> AsyncIterator[Source]:
    """Yield the media blobs under `az://container/prefix`.

    Raises:
        UsageError: The container does not exist.
    """
    from azure.core.exceptions import ResourceNotFoundError

    from tasks.azure.listing import list_blobs

    container, prefix = split_address(address)
    root = prefix if prefix.endswith("/") else prefix.rpartition("/")[0]
    try:
        async for blob in list_blobs(service.get_container_client(container), prefix):
            # Some tools create a blob with a trailing slash for each folder.
            if is_media(blob.name) or (blob.name == prefix and not prefix.endswith("/")):
                yield _blob_source(blob, container=container, root=root)
    except ResourceNotFoundError:
        raise UsageError(
            f"The container {container!r} of {address!r} does not exist.",
            "Check its name and the storage account.",
        ) from None


def _blob_source(blob: "ListedBlob", *, container: str, root: str) -> Source:
    md5 = b64decode(blob.md5).hex()
    return Source(
        name=blob.name.removeprefix(root).lstrip("/"),
        location=f"{AZURE}{container}/{blob.name}",
        size_bytes=blob.size_bytes,
        version=md5 or blob.etag,
        etag=blob.etag,
        md5=md5,
    )


def check_sources_exist(patterns: Iterable[str]) -> None:
    """Check local sources before any slow work. Of an `az://` address, check only the form.

    Raises:
        UsageError: A local source is empty or matches nothing, or an address has no container.
    """
    for pattern in patterns:
        if pattern.startswith(AZURE):
            split_address(pattern)
        else:
            next(find_local_files(pattern), None)
