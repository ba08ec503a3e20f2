import os
from pathlib import Path

import pytest

from tasks.errors import UsageError
from tasks.files import check_allowed, open_atomically
from tasks.parameters import Output, Request
from tasks.plan import check_request, make_plan


def test_a_file_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "r.json"
    with open_atomically(target) as file:
        file.write(b"x" * 100)
        assert not target.exists()
    assert target.read_bytes() == b"x" * 100
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_file_that_cannot_be_finished_leaves_what_was_there_and_nothing_else(
    tmp_path: Path,
) -> None:
    target = tmp_path / "r.json"
    target.write_bytes(b"before")
    with pytest.raises(TypeError), open_atomically(target) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_buffered_is_written_before_the_file_gets_its_name(tmp_path: Path) -> None:
    target = tmp_path / "a.mp3"
    with open_atomically(target) as file:
        file.write(b"x")
        (temporary,) = tmp_path.iterdir()
        assert temporary.stat().st_size == 0
    assert target.stat().st_size == 1


@pytest.fixture
def fenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("media", "out", "secret"):
        (tmp_path / name).mkdir()
    folders = os.pathsep.join(str(tmp_path / name) for name in ("media", "out"))
    monkeypatch.setenv("CONVERT_FOLDERS", folders)
    return tmp_path


def test_without_the_setting_every_folder_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVERT_FOLDERS", raising=False)
    check_allowed(["/etc/passwd"])


def test_what_lies_in_an_allowed_folder_is_allowed(fenced: Path) -> None:
    check_allowed([fenced / "media" / "a.mp4", fenced / "out", fenced / "media" / "b" / "c.mp4"])


@pytest.mark.parametrize("name", ["secret/a.mp4", "media/../secret/a.mp4", "media2/a.mp4", "."])
def test_what_lies_elsewhere_is_refused(fenced: Path, name: str) -> None:
    with pytest.raises(UsageError, match="outside the folders that this deployment allows"):
        check_allowed([f"{fenced}/{name}"])


def test_a_link_that_leads_elsewhere_is_refused(fenced: Path) -> None:
    (fenced / "media" / "link.mp4").symlink_to(fenced / "secret" / "a.mp4")
    with pytest.raises(UsageError, match="outside the folders"):
        check_allowed([fenced / "media" / "link.mp4"])


@pytest.mark.parametrize("source", ["secret", "secret/*.mp4", "media/../secret/*", "media/link/*"])
def test_what_lies_elsewhere_is_not_even_looked_for(fenced: Path, source: str) -> None:
    (fenced / "media" / "link").symlink_to(fenced / "secret")
    with pytest.raises(UsageError, match="outside the folders"):
        check_request(Request(sources=[f"{fenced}/{source}"]))


@pytest.mark.parametrize("pattern", ["*/../../secret/a.mp4", "*/a.mp4", "sub/../link/a.mp4"])
async def test_a_pattern_that_leads_elsewhere_finds_nothing_there(
    fenced: Path, account: dict[str, str], pattern: str
) -> None:
    assert account
    (fenced / "secret" / "a.mp4").write_text("secret")
    (fenced / "media" / "sub").mkdir()
    (fenced / "media" / "link").symlink_to(fenced / "secret")
    with pytest.raises(UsageError, match="outside the folders"):
        await make_plan.fn(Request(sources=[f"{fenced}/media/{pattern}"]))


@pytest.mark.parametrize("field", ["download_to", "report"])
@pytest.mark.parametrize("name", ["secret/x", "media/link/x", "media/../secret/x", "~/x"])
def test_nothing_is_written_elsewhere(fenced: Path, field: str, name: str) -> None:
    (fenced / "media" / "a.mp4").write_bytes(b"media")
    (fenced / "media" / "link").symlink_to(fenced / "secret")
    place = name if name.startswith("~") else f"{fenced}/{name}"
    with pytest.raises(UsageError, match="outside the folders"):
        check_request(Request(sources=[f"{fenced}/media"], output=Output(**{field: place})))
