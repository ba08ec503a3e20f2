"""Where a deployment lets its runs read and write on the machine that runs them.

Whoever may start a run from Prefect's form chooses its sources: without a fence, any file that the
worker can read.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.azure.settings import ENV_FILE
from tasks.errors import UsageError


class Fence(BaseSettings):
    """The folders that runs may use, as in PATH; empty: all."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", frozen=True)

    folders: str = Field("", validation_alias="CONVERT_FOLDERS")

    @property
    def roots(self) -> tuple[Path, ...]:
        return tuple(Path(part).resolve() for part in self.folders.split(os.pathsep) if part)


def check_fence(paths: Iterable[str | Path]) -> None:
    """Refuse what lies outside, also behind a link or `..`.

    Raises:
        UsageError: a path is in none of the allowed folders.
    """
    roots = Fence().roots
    if not roots:
        return
    for path in paths:
        real = Path(path).expanduser().resolve()
        if not any(real.is_relative_to(root) for root in roots):
            raise UsageError(
                f"{path} is outside the folders that this deployment allows.",
                "Use one of those in its setting CONVERT_FOLDERS.",
            )
