"""Files with settings that a stack writes when it is ready, and deletes when it stops."""

import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from local_azure.errors import StackUsageError
from local_azure.ports import answers

HEADER = "# Written by local-azure; deleted when it stops.\n"


def text(settings: Mapping[str, str]) -> str:
    """Return the settings as lines that both a shell and python-dotenv read."""
    return "".join(f'{name}="{value}"\n' for name, value in settings.items())


def is_setting(line: str) -> bool:
    return re.match(r'[A-Z_]+="', line) is not None


def read(path: Path) -> dict[str, str]:
    words = shlex.split(path.read_text(), comments=True)
    return dict(word.split("=", 1) for word in words)


def check(path: Path) -> None:
    """Refuse a path that a stack must not or cannot write.

    Raises:
        StackUsageError: The file is not a stack's, or its folder does not exist.
    """
    if not path.parent.is_dir():
        raise StackUsageError(
            f"Cannot write {path}: the folder {path.parent} does not exist.", "Create it first."
        )
    if path.exists() and not (path.is_file() and is_ours(path)):
        raise StackUsageError(
            f"{path} exists and was not written by the local stack.", "Choose another file."
        )


def check_unused(path: Path) -> None:
    """Refuse the file of a stack that runs. Call this before the own stack listens.

    Raises:
        StackUsageError: A server answers at the Batch endpoint in the file.
    """
    endpoint = read(path).get("AZURE_BATCH_ENDPOINT", "") if path.exists() else ""
    if answers(urlsplit(endpoint).port or 0):
        raise StackUsageError(
            f"{path} belongs to another stack that is running.", "Choose another file."
        )


def is_ours(path: Path) -> bool:
    """Return whether a stack wrote the file."""
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER.encode()


def write(path: Path, settings: Mapping[str, str]) -> None:
    """Write the settings in one step, to a file that only this user can read."""
    check(path)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as file:
        file.write(HEADER + text(settings))
    Path(draft).replace(path)


def remove(path: Path, settings: Mapping[str, str]) -> None:
    """Delete the file, unless its content has changed."""
    if path.is_file() and path.read_text(errors="replace") == HEADER + text(settings):
        path.unlink()
