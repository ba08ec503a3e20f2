"""Files of settings that a stack writes when it is ready, and removes when it stops."""

import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from local_azure.errors import StackUsageError
from local_azure.ports import answers

HEADER = "# Written by python -m local_azure; gone when it stops.\n"


def text(settings: Mapping[str, str]) -> str:
    """The settings as lines that both a shell and python-dotenv read."""
    return "".join(f'{name}="{value}"\n' for name, value in settings.items())


def is_setting(line: str) -> bool:
    """Whether it is one of those lines."""
    return re.match(r'[A-Z_]+="', line) is not None


def read(path: Path) -> dict[str, str]:
    """The settings in the file at `path`."""
    words = shlex.split(path.read_text(), comments=True)
    return dict(word.split("=", 1) for word in words)


def check(path: Path) -> None:
    """Refuse a path that a stack must not, or cannot, write.

    Raises:
        StackUsageError: It is somebody else's file, no file at all, or in no folder.
    """
    if not path.parent.is_dir():
        raise StackUsageError(f"{path} cannot be written: there is no folder {path.parent}.")
    if path.exists() and not (path.is_file() and is_ours(path)):
        message = (
            f"{path} was not written by the local stack, and is left alone: name another file."
        )
        raise StackUsageError(message)


def check_unused(path: Path) -> None:
    """Refuse the file of another stack that runs: to be called before there is one of our own.

    Raises:
        StackUsageError: Somebody answers at the Batch endpoint that the file names.
    """
    endpoint = read(path).get("AZURE_BATCH_ENDPOINT", "") if path.exists() else ""
    if answers(urlsplit(endpoint).port or 0):
        message = f"{path} is the file of another stack, which runs: name another file."
        raise StackUsageError(message)


def is_ours(path: Path) -> bool:
    """Whether a stack wrote the file at `path`."""
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER.encode()


def write(path: Path, settings: Mapping[str, str]) -> None:
    """Put the settings at `path`, whole or not at all, for this user's eyes only."""
    check(path)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as file:
        file.write(HEADER + text(settings))
    Path(draft).replace(path)


def remove(path: Path, settings: Mapping[str, str]) -> None:
    """Remove the file at `path`, unless it has come to hold something else."""
    if path.is_file() and path.read_text(errors="replace") == HEADER + text(settings):
        path.unlink()
