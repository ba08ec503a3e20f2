"""The data folder: its place, its mode and its keys."""

import base64
import stat
from pathlib import Path

import pytest
from platformdirs import user_data_path

from local_azure.errors import StackUsageError
from local_azure.folder import DataFolder


def test_the_default_is_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert DataFolder.at(None).path == user_data_path("batch-convert", appauthor=False)
    assert DataFolder.at(tmp_path / "named").path == tmp_path / "named"


def test_a_relative_path_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert DataFolder.at(Path("named")).path == tmp_path / "named"


def test_only_the_user_can_read_the_folder(tmp_path: Path) -> None:
    path = DataFolder.at(tmp_path / "made" / "here").path
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackUsageError, match=f"{tmp_path / 'file'} cannot be created"):
        DataFolder.at(tmp_path / "file")


def test_keys_are_random_and_stable_and_only_the_user_can_read_them(tmp_path: Path) -> None:
    folder, other = DataFolder.at(tmp_path / "a"), DataFolder.at(tmp_path / "b")
    assert folder.key("local") == folder.key("local")
    assert len({folder.key("local"), folder.key("storage"), other.key("local")}) == 3
    assert len(base64.b64decode(folder.key("local"), validate=True)) == 64
    assert stat.S_IMODE((folder.path / "local.key").stat().st_mode) == 0o600
