"""Finds the sources: files, folders, globs, and `az://container/prefix`.

Paths are text here; naming.py has the reason.
"""

import glob
import os
import stat
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import UsageError
from tasks.files import local_path
from tasks.media.addresses import AZURE, split_address
from tasks.media.ignored import Ignored
from tasks.media.suffixes import is_media
from tasks.media.walk import Found, walk
from tasks.models import Source

if TYPE_CHECKING:  # the command checks sources before it imports slow modules
    from azure.storage.blob.aio import BlobServiceClient

    from tasks.azure.listing import ListedBlob

NAME_A_SOURCE = "Name a file, a folder, a glob or az://container/prefix with media files."
UNREADABLE = "unreadable: "  # starts the version of an unreadable source; the reason follows


def find_local_files(pattern: str, ignored: Ignored | None = None) -> Iterator[Source]:
    """Yield the file at a path, or the media files that a folder or a glob contains at any depth.

    What the walk leaves out is added to `ignored`.

    Raises:
        UsageError: The pattern is empty or matches nothing.
    """
    if not pattern:
        raise UsageError("The name of a source is empty.", NAME_A_SOURCE)
    path = local_path(pattern)
    ignored = ignored or Ignored()
    if os.path.isdir(path):  # noqa: PTH112  pathlib raises if it lacks permission
        yield from _sources_of(walk(str(path)), root=path, ignored=ignored)
    elif os.path.lexists(path):
        yield _local_source(str(path), root=path.parent)
    elif glob.has_magic(pattern):
        yield from _expand_glob(pattern, ignored)
    else:
        raise UsageError(f"There is no file or folder {with_path(pattern)}.", "Check the name.")


def with_path(pattern: str) -> str:
    """Return a quoted source, and its absolute path if that is different."""
    path = local_path(pattern).absolute()
    is_whole = pattern.startswith(AZURE) or str(path) == pattern
    return repr(pattern) if is_whole else f"{pattern!r} ({path})"


def _expand_glob(pattern: str, ignored: Ignored) -> Iterator[Source]:
    path = local_path(pattern)
    root = _fixed_part(path)
    matches = walk(str(root), path.parts[len(root.parts) :])
    first = next(matches, None) if os.path.isdir(root) else None  # noqa: PTH112  as above
    if not first:
        raise UsageError(f"No file matches {with_path(pattern)}.", "Check the pattern.")
    yield from _sources_of(chain([first], matches), root=root, ignored=ignored)


def _fixed_part(pattern: Path) -> Path:
    """Return the folder above the first wildcard. Outputs mirror the paths below it.

    A folder that exists is no wildcard, even if its name looks like one: `Show [2026]`.
    """
    fixed = Path()
    for part in pattern.parts:
        if glob.has_magic(part) and not os.path.lexists(fixed / part):
            break
        fixed /= part
    return fixed


def search_roots(patterns: Iterable[str]) -> Iterator[Path]:
    """Yield the paths where the search for local sources begins."""
    for path in (local_path(pattern) for pattern in patterns if not pattern.startswith(AZURE)):
        yield path if os.path.lexists(path) else _fixed_part(path)


def _sources_of(walked: Iterable[Found], *, root: Path, ignored: Ignored) -> Iterator[Source]:
    """Yield the media files, and as unreadable sources the folders that cannot be listed."""
    for found in walked:
        match found.kind:
            case "file" if is_media(found.path):
                yield _local_source(found.path, root=root)
            case "file":
                ignored.add_file(found.path)
            case "hidden file":
                ignored.add_hidden_file()
            case "unlisted folder":
                yield _unreadable(found.path, found.reason, root=root)
            case kind:
                ignored.add_folder(kind)


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


async def find_blobs(
    service: "BlobServiceClient", address: str, ignored: Ignored | None = None
) -> AsyncIterator[Source]:
    """Yield the media blobs under `az://container/prefix`, by the same names as in a folder.

    Raises:
        UsageError: The container does not exist.
    """
    from azure.core.exceptions import ResourceNotFoundError

    from tasks.azure.listing import list_blobs

    container, prefix = split_address(address)
    root = prefix if prefix.endswith("/") else prefix.rpartition("/")[0]
    ignored = ignored or Ignored()
    try:
        async for blob in list_blobs(service.get_container_client(container), prefix):
            if _is_source(blob.name, prefix=prefix, ignored=ignored):
                yield _blob_source(blob, container=container, root=root)
    except ResourceNotFoundError:
        raise UsageError(
            f"The container {container!r} of {address!r} does not exist.",
            "Check its name and the storage account.",
        ) from None


def _is_source(blob: str, *, prefix: str, ignored: Ignored) -> bool:
    if blob.endswith("/"):  # some tools create such a blob for each folder
        return False
    if blob == prefix:
        return True
    if "/." in f"{prefix[-1:] or '/'}{blob[len(prefix) :]}":
        ignored.add_hidden_file()
        return False
    if not is_media(blob):
        ignored.add_file(blob)
        return False
    return True


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


def check_sources_exist(patterns: Sequence[str]) -> None:
    """Check local sources before any slow work. Of an `az://` address, check only the form.

    Raises:
        UsageError: A local source is empty or matches nothing, an address has no container, or
            there are only local sources and none of them has a media file.
    """
    ignored = Ignored()
    is_found = [_has_source(pattern, ignored) for pattern in patterns]
    if patterns and not any(is_found):
        raise no_media_found(patterns, ignored)


def _has_source(pattern: str, ignored: Ignored) -> bool:
    if pattern.startswith(AZURE):
        split_address(pattern)
        return True
    return next(find_local_files(pattern, ignored), None) is not None


def no_media_found(patterns: Iterable[str], ignored: Ignored) -> UsageError:
    """Return the error of a run without sources."""
    left_out = f" Ignored {ignored}." if str(ignored) else ""
    named = ", ".join(map(with_path, patterns))
    return UsageError(f"No media files found in {named}.{left_out}", NAME_A_SOURCE)
