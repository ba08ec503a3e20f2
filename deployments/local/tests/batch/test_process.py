"""Which programs can be started on a node."""

import contextlib
from pathlib import Path

import pytest

from local_azure.batch.process import find_program


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a program, a text and a folder, each under `own` and on no PATH."""
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
def test_a_program_is_looked_for_as_the_system_does(
    folder: Path, name: str, path: str, error: type[OSError] | None
) -> None:
    with pytest.raises(error) if error else contextlib.nullcontext():
        find_program([name, "-x"], folder=folder, path=path.format(folder))


def test_a_command_line_without_words_is_none(folder: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        find_program([], folder=folder, path="own")
