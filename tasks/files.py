"""Local files: written completely or not at all, and only in allowed folders."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.azure.settings import ENV_FILE
from tasks.errors import UsageError

logger = logging.getLogger(__name__)


@contextmanager
def open_atomically(target: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file. It replaces the target if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
        path = Path(file.name)
        try:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            path.replace(target)
        finally:
            path.unlink(missing_ok=True)


def local_path(text: str) -> Path:
    return Path(os.path.expanduser(text))  # noqa: PTH111  pathlib's own fails on an unknown user


def move_aside(target: Path) -> None:
    """Rename an existing file or link: it may be the user's own."""
    if not os.path.lexists(target):
        return
    aside = target.with_name(f"{target.name}~")
    number = 1
    while os.path.lexists(aside):
        number += 1
        aside = target.with_name(f"{target.name}~{number}")
    target.rename(aside)
    logger.warning("%s already existed: the old file is now %s", target, aside.name)


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
        real = Path(path).expanduser().resolve()
        if not any(real.is_relative_to(root) for root in roots):
            raise UsageError(
                f"{path} is outside the folders that this deployment allows.",
                "Use a folder that the deployment's setting CONVERT_FOLDERS lists.",
            )
