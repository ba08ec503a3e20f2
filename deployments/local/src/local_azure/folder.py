"""The data folder, which keeps a stack's blobs, keys and logs between starts."""

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from local_azure.errors import StackUsageError

KEY_BYTES = 64  # the size of Azure's account keys


@dataclass(frozen=True)
class DataFolder:
    """The files in the data folder at `path`."""

    path: Path

    @classmethod
    def at(cls, path: Path | None) -> "DataFolder":
        """Return the folder at `path`, or in the user's data folder, and create it if missing.

        Raises:
            StackUsageError: The folder cannot be created or written.
        """
        path = (path or user_data_path("batch-convert", appauthor=False)).expanduser().absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StackUsageError(
                f"The data folder {path} cannot be created ({error.strerror}).",
                "Choose another folder.",
            ) from error
        if not os.access(path, os.W_OK | os.X_OK):
            raise StackUsageError(
                f"The data folder {path} is not writable.",
                "Choose another folder, or change its mode.",
            )
        return cls(path)

    @property
    def lock(self) -> Path:
        """The lock that the running stack holds exclusively."""
        return self.path / "lock"

    @property
    def users(self) -> Path:
        """The lock that commands which use the stack share, and a stack that stops excludes."""
        return self.path / "users"

    @property
    def settings(self) -> Path:
        """The settings of the running stack. The stack deletes the file when it stops."""
        return self.path / "stack.env"

    def log(self, name: str) -> Path:
        """Return the log of a part of the stack from its last run."""
        return self.path / f"{name}.log"

    def key(self, account: str) -> str:
        """Return the account's key in base64. It is made at its first use, for this user only."""
        path = self.path / f"{account}.key"
        if not path.exists():
            write_privately(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)))
        return path.read_text()


def write_privately(path: Path, content: bytes) -> None:
    """Write a file in one step that only this user can read."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(path)
