"""The folders and files of a node, and no file outside them."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from local_azure.batch.error_codes import BatchError


def make_node(root: Path) -> None:
    for name in ("shared", "startup/wd", "workitems", "fsmounts"):
        (root / name).mkdir(parents=True, exist_ok=True)


def task_folder(root: Path, job_id: str, task_id: str) -> Path:
    return root / "workitems" / job_id / "job-1" / task_id


def open_own(path: Path, mode: str) -> IO[Any]:
    """Open a file of the service in a task's folder.

    Follow no link that the task left there, and do not wait for the reader of a pipe.
    """
    return open(path, mode, opener=_open_directly)


def _open_directly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device: to open it could take forever."""
    return path.exists() and not (path.is_file() or path.is_dir())


@dataclass(frozen=True, kw_only=True)
class File:
    """A file or folder on a node. Its name is relative to the folder of the request."""

    name: str
    path: Path
    is_folder: bool
    bytes: int
    modified: datetime
    mode: str

    @classmethod
    def at(cls, path: Path, name: str) -> "File":
        facts = path.lstat()
        return cls(
            name=name,
            path=path,
            is_folder=stat.S_ISDIR(facts.st_mode),
            bytes=facts.st_size,
            modified=datetime.fromtimestamp(facts.st_mtime, UTC),
            mode=f"0o{facts.st_mode:o}",
        )


def inside(root: Path, name: str) -> Path:
    """Return the path of `name` under `root`, with links resolved.

    Raises:
        BatchError: FileNotFound, also for a path outside `root`.
    """
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\0" in name:
        raise BatchError("FileNotFound", FilePath=name[:200])
    try:
        path = (root / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise BatchError("FileNotFound", FilePath=name[:200]) from None
    top = root.resolve()
    if path == top or not path.is_relative_to(top):
        raise BatchError("FileNotFound", FilePath=name[:200])
    return path


def find(root: Path, name: str) -> File:
    path = inside(root, name)
    file = File.at(path, name.strip("/"))
    if not file.is_folder and not path.is_file():
        raise BatchError("FileNotFound", FilePath=name[:200])
    return file


def listing(root: Path, *, recursive: bool) -> Iterator[File]:
    """Yield the files and folders in `root` by name, without links and special files."""
    if not root.is_dir():
        return
    pattern = "**/*" if recursive else "*"
    for path in sorted(root.glob(pattern), key=lambda path: path.relative_to(root).as_posix()):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            continue
        try:
            yield File.at(path, path.relative_to(root).as_posix())
        except FileNotFoundError:
            continue
