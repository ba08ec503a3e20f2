"""The data folder: where a stack keeps its blobs, keys and logs from one start to the next."""

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from local_azure.errors import StackUsageError

KEY_BYTES = 64  # as Azure's own account keys


@dataclass(frozen=True)
class DataFolder:
    """The names of what is in the folder at `path`."""

    path: Path

    @classmethod
    def at(cls, path: Path | None) -> "DataFolder":
        """The folder at `path`, or else in the user's data folder; made where it is missing.

        Raises:
            StackUsageError: It can be neither made nor written.
        """
        path = (path or user_data_path("batch-convert", appauthor=False)).expanduser().absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = f"The data folder {path} cannot be made ({error.strerror}): name another."
            raise StackUsageError(message) from error
        if not os.access(path, os.W_OK | os.X_OK):
            message = f"The data folder {path} cannot be written: name another, or change its mode."
            raise StackUsageError(message)
        return cls(path)

    @property
    def lock(self) -> Path:
        """Held alone by the stack that runs on this folder."""
        return self.path / "lock"

    @property
    def users(self) -> Path:
        """Shared by the commands that use the stack; alone by one that will stop."""
        return self.path / "users"

    @property
    def settings(self) -> Path:
        """The settings of the stack that runs; gone when it stops."""
        return self.path / "stack.env"

    def log(self, name: str) -> Path:
        """What a part of the stack printed when it last ran."""
        return self.path / f"{name}.log"

    def key(self, account: str) -> str:
        """The account's key in base64, made at its first use, for this user's eyes only."""
        path = self.path / f"{account}.key"
        if not path.exists():
            write_privately(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)))
        return path.read_text()


def write_privately(path: Path, content: bytes) -> None:
    """Put it at `path`, whole or not at all, for this user's eyes only."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(path)
