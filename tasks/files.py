"""Local files: written completely or not at all, and only in allowed folders."""

import errno
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.azure.settings import ENV_FILE
from tasks.errors import UsageError

SPECIAL = "it is a pipe, a socket or a device"
logger = logging.getLogger(__name__)


@contextmanager
def open_atomically(target: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file. It replaces the target if the block succeeds.

    Raises:
        UsageError: The target's folder is not allowed. A link may lead out of an allowed folder.
        OSError: The file cannot be written, or the target is a pipe, a socket or a device.
    """
    check_allowed([target.parent])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
        path = Path(file.name)
        try:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            if is_special(target):
                raise FileExistsError(errno.EEXIST, SPECIAL)
            path.replace(target)
        finally:
            path.unlink(missing_ok=True)


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device, which a file must not replace."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file to read it. Do not wait, as a pipe would until another program writes to it.

    Raises:
        OSError: The file cannot be read, or is not a regular file.
    """
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115  the caller closes it
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a regular file")


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def local_path(text: str) -> Path:
    return Path(os.path.expanduser(text))  # noqa: PTH111  pathlib's own fails on an unknown user


def real_path(path: str | Path) -> Path:
    """Return an absolute path without links and `..`. A loop of links ends where it begins."""
    return Path(os.path.realpath(local_path(str(path))))


def move_aside(target: Path) -> None:
    """Rename an existing file or link: it may be the user's own."""
    if not os.path.lexists(target):
        return
    aside = rename_free(target, f"{target.name}~")
    logger.warning("%s already existed: the old file is now %s", target, aside.name)


def rename_free(target: Path, name: str, suffix: str = "") -> Path:
    """Give a file this name, or the next free one: `name2.json` for `name` and `.json`."""
    free, number = target.with_name(f"{name}{suffix}"), 1
    while os.path.lexists(free):
        number += 1
        free = target.with_name(f"{name}{number}{suffix}")
    return target.rename(free)


def written_at(path: Path) -> datetime | None:
    """Return when a file was written. None: it does not exist."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def keep_earlier(target: Path, *, moment: datetime | None) -> None:
    """Rename a file that an earlier run wrote at this moment, so that its name says when."""
    if moment and target.is_file():
        aside = rename_free(target, f"{target.stem}-{moment:%Y%m%dT%H%M%SZ}", target.suffix)
        logger.info("%s of an earlier run is now %s", target, aside.name)


def keep_foreign(target: Path, *, is_ours: Callable[[Path], bool]) -> None:
    """Rename a file or link that we did not write, so that we can write ours."""
    try:
        is_foreign = target.is_symlink() or (target.is_file() and not is_ours(target))
    except PermissionError:  # we could read ours
        is_foreign = True
    if is_foreign:
        move_aside(target)


class AllowedFolders(BaseSettings):
    """The folders that runs may use, separated as in PATH. Empty: all folders."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", frozen=True)

    folders: str = Field("", validation_alias="CONVERT_FOLDERS")

    @property
    def roots(self) -> tuple[Path, ...]:
        return tuple(Path(part).resolve() for part in self.folders.split(os.pathsep) if part)


def check_allowed(paths: Iterable[str | Path]) -> None:
    """Check that all paths are in allowed folders, also after links and `..` are resolved.

    Raises:
        UsageError: A path is in none of the allowed folders.
    """
    roots = AllowedFolders().roots
    if not roots:
        return
    for path in paths:
        real = real_path(path)
        if not any(real.is_relative_to(root) for root in roots):
            where = "is" if str(real) == str(path) else f"leads to {real}, which is"
            raise UsageError(
                f"{path} {where} outside the folders that this deployment allows.",
                f"Use a folder in {' or '.join(map(str, roots))}. CONVERT_FOLDERS lists them where"
                " the run works.",
            )
