"""Copies of the database of a new Prefect server: to make one takes five seconds of CPU time."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class EmptyDatabase:
    """A database without runs."""

    path: Path

    def copy_from(self, home: Path) -> None:
        """Copy the database of a running server, given its home folder."""
        draft = self.path.with_suffix(".draft")
        with (
            closing(sqlite3.connect(home / "prefect.db")) as source,
            closing(sqlite3.connect(draft)) as target,
        ):
            source.backup(target)
        draft.rename(self.path)

    def copy_to(self, data: Path) -> None:
        """Copy it into a data folder, where a server will find it."""
        home = data / f"prefect-{version('prefect')}"
        home.mkdir(parents=True)
        shutil.copy(self.path, home / "prefect.db")
