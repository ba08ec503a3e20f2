"""The programs that can be started on a node."""

import contextlib
from pathlib import Path

import pytest

from local_azure.batch.process import find_program


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a working folder with a program, a text and a folder under `own`, not on PATH."""
    (tmp_path / "own" / "folder").mkdir(parents=True)
    for name, mode in (("program", 0o755), ("text", 0o644)):
        (tmp_path / "own" / name).touch(mode)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path", "error"),
    [
        ("own/program", "", None),
        ("program", "own", None),
        ("program", "none:{}/own", None),
        ("own/text", "", PermissionError),
        ("text", "own", PermissionError),
        ("program", "none", FileNotFoundError),
        ("own/none", "own", FileNotFoundError),
        ("own/folder", "", FileNotFoundError),
    ],
)
def test_programs_are_found_as_the_system_finds_them(
    folder: Path, name: str, path: str, error: type[OSError] | None
) -> None:
    with pytest.raises(error) if error else contextlib.nullcontext():
        find_program([name, "-x"], folder=folder, path=path.format(folder))


def test_an_empty_command_line_cannot_be_started(folder: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        find_program([], folder=folder, path="own")
