import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.errors import UsageError
from tasks.files import check_allowed, is_special, open_atomically, open_regular
from tasks.parameters import Output, Request
from tasks.plan import check_request, make_plan


def test_a_file_gets_its_name_once_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "r.json"
    with open_atomically(target) as file:
        file.write(b"x" * 100)
        assert not target.exists()
    assert target.read_bytes() == b"x" * 100
    assert target.stat().st_mode & 0o777 == 0o644


def test_an_unfinished_file_leaves_the_target_unchanged_and_no_other_file(
    tmp_path: Path,
) -> None:
    target = tmp_path / "r.json"
    target.write_bytes(b"before")
    with pytest.raises(TypeError), open_atomically(target) as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_buffered_content_is_written_before_a_file_gets_its_name(tmp_path: Path) -> None:
    target = tmp_path / "a.mp3"
    with open_atomically(target) as file:
        file.write(b"x")
        (temporary,) = tmp_path.iterdir()
        assert temporary.stat().st_size == 0
    assert target.stat().st_size == 1


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    target = tmp_path / "r.json"
    make(target)
    with (
        pytest.raises(OSError, match="it is a pipe, a socket or a device"),
        open_atomically(target),
    ):
        pass
    assert is_special(target)
    assert list(tmp_path.iterdir()) == [target]


def test_a_pipe_is_not_opened_for_reading(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"x"


@pytest.fixture
def allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder. Only `media` and `out` in it are allowed."""
    for name in ("media", "out", "secret"):
        (tmp_path / name).mkdir()
    folders = os.pathsep.join(str(tmp_path / name) for name in ("media", "out"))
    monkeypatch.setenv("CONVERT_FOLDERS", folders)
    return tmp_path


def test_every_folder_is_allowed_without_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVERT_FOLDERS", raising=False)
    check_allowed(["/etc/passwd"])


def test_paths_in_allowed_folders_are_allowed(allowed: Path) -> None:
    check_allowed([allowed / "media" / "a.mp4", allowed / "out", allowed / "media" / "b" / "c.mp4"])


@pytest.mark.parametrize("name", ["secret/a.mp4", "media/../secret/a.mp4", "media2/a.mp4", "."])
def test_paths_outside_allowed_folders_are_refused(allowed: Path, name: str) -> None:
    with pytest.raises(UsageError, match="outside the folders that this deployment allows"):
        check_allowed([f"{allowed}/{name}"])


def test_the_error_lists_the_allowed_folders(allowed: Path) -> None:
    folders = f"Use a folder in {allowed}/media or {allowed}/out."
    with pytest.raises(UsageError, match=re.escape(folders)):
        check_allowed([allowed / "secret"])


def test_a_link_to_a_folder_that_is_not_allowed_is_refused(allowed: Path) -> None:
    (allowed / "media" / "link.mp4").symlink_to(allowed / "secret" / "a.mp4")
    with pytest.raises(UsageError, match="outside the folders"):
        check_allowed([allowed / "media" / "link.mp4"])


def test_no_file_is_written_through_a_link_out_of_an_allowed_folder(allowed: Path) -> None:
    (allowed / "out" / "link").symlink_to(allowed / "secret")
    for target in ("link/a.mp3", "link/new/a.mp3"):
        with (
            pytest.raises(UsageError, match=r"out/link.* leads to .*secret.*, which is outside"),
            open_atomically(allowed / "out" / target),
        ):
            pass
    assert list((allowed / "secret").iterdir()) == []


def test_a_loop_of_links_is_in_the_folder_where_it_begins(allowed: Path) -> None:
    for folder in ("media", "secret"):
        (allowed / folder / "loop").symlink_to("loop")
    check_allowed([allowed / "media" / "loop"])
    with pytest.raises(UsageError, match="outside the folders"):
        check_allowed([allowed / "secret" / "loop"])


@pytest.mark.parametrize("source", ["secret", "secret/*.mp4", "media/../secret/*", "media/link/*"])
def test_sources_outside_allowed_folders_are_refused_before_they_are_looked_up(
    allowed: Path, source: str
) -> None:
    (allowed / "media" / "link").symlink_to(allowed / "secret")
    with pytest.raises(UsageError, match="outside the folders"):
        check_request(Request(sources=[f"{allowed}/{source}"]))


@pytest.mark.parametrize("pattern", ["*/../../secret/a.mp4", "*/a.mp4", "sub/../link/a.mp4"])
async def test_a_pattern_finds_no_files_outside_allowed_folders(
    allowed: Path, account: dict[str, str], pattern: str
) -> None:
    assert account
    (allowed / "secret" / "a.mp4").write_text("secret")
    (allowed / "media" / "sub").mkdir()
    (allowed / "media" / "link").symlink_to(allowed / "secret")
    with pytest.raises(UsageError, match=r"No media files found|outside the folders"):
        await make_plan.fn(Request(sources=[f"{allowed}/media/{pattern}"]))


@pytest.mark.parametrize("field", ["download_to", "report"])
@pytest.mark.parametrize("name", ["secret/x", "media/link/x", "media/../secret/x", "~/x"])
def test_outputs_outside_allowed_folders_are_refused(allowed: Path, field: str, name: str) -> None:
    (allowed / "media" / "a.mp4").write_bytes(b"media")
    (allowed / "media" / "link").symlink_to(allowed / "secret")
    place = name if name.startswith("~") else f"{allowed}/{name}"
    with pytest.raises(UsageError, match="outside the folders"):
        check_request(Request(sources=[f"{allowed}/media"], output=Output(**{field: place})))
