from pathlib import Path

import pytest

from tasks.files import fresh_file


def test_a_file_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "r.json"
    with fresh_file(target) as file:
        file.write(b"x" * 100)
        assert not target.exists()
    assert target.read_bytes() == b"x" * 100
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_file_that_cannot_be_finished_leaves_what_was_there_and_nothing_else(
    tmp_path: Path,
) -> None:
    target = tmp_path / "r.json"
    target.write_bytes(b"before")
    with pytest.raises(TypeError), fresh_file(target) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_buffered_is_written_before_the_file_gets_its_name(tmp_path: Path) -> None:
    target = tmp_path / "a.mp3"
    with fresh_file(target) as file:
        file.write(b"x")
        (temporary,) = tmp_path.iterdir()
        assert temporary.stat().st_size == 0
    assert target.stat().st_size == 1
