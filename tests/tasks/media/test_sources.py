import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.blob import BlobBlock, BlobServiceClient

from tasks.azure.clients import blob_service
from tasks.errors import UsageError
from tasks.files import local_path
from tasks.media.addresses import split_address
from tasks.media.ignored import Ignored
from tasks.media.sources import (
    check_sources_exist,
    find_blobs,
    find_local_files,
    search_roots,
)
from tasks.models import Source
from tasks.plan import refuse_unusable


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    for name in ("b.mp4", "talks/Day 1.MKV", "talks/.hidden.mp4", "talks/notes.txt", "a[1].mp4"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"media")
    return folder


def found(pattern: Path | str) -> list[str]:
    return [source.name for source in find_local_files(str(pattern))]


def left_out(pattern: Path | str) -> str:
    ignored = Ignored()
    list(find_local_files(str(pattern), ignored))
    return str(ignored)


def test_a_folder_yields_its_media_files_at_any_depth(library: Path) -> None:
    assert found(library) == ["a[1].mp4", "b.mp4", "talks/Day 1.MKV"]


def test_a_source_has_a_location_a_size_and_a_modification_time(library: Path) -> None:
    (source,) = find_local_files(str(library / "b.mp4"))
    changed = (library / "b.mp4").stat().st_mtime_ns
    assert source == Source("b.mp4", str(library / "b.mp4"), 5, str(changed))


def test_a_named_file_may_have_any_suffix(library: Path) -> None:
    assert found(library / "talks/notes.txt") == ["notes.txt"]


def test_an_existing_file_whose_name_looks_like_a_glob_is_not_expanded(library: Path) -> None:
    assert found(library / "a[1].mp4") == ["a[1].mp4"]


def test_an_existing_folder_whose_name_looks_like_a_glob_is_not_expanded(library: Path) -> None:
    (library / "talks").rename(library / "talks [2026]")
    assert found(library / "talks [2026]" / "*.MKV") == ["Day 1.MKV"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.mp4", ["a[1].mp4", "b.mp4"]),
        ("**/*.MKV", ["talks/Day 1.MKV"]),
        ("t*", ["talks/Day 1.MKV"]),
        ("talks/*", ["Day 1.MKV"]),
    ],
)
def test_names_are_relative_to_the_folder_above_the_first_wildcard(
    library: Path, pattern: str, expected: list[str]
) -> None:
    assert found(library / pattern) == expected


def test_relative_patterns_start_in_the_working_directory(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library)
    assert found("*.mp4") == ["a[1].mp4", "b.mp4"]
    assert found(".") == ["a[1].mp4", "b.mp4", "talks/Day 1.MKV"]
    assert {Path(source.location).is_absolute() for source in find_local_files(".")} == {True}


@pytest.mark.parametrize("name", ["none.mp4", "x" * 300, "~unknown-user/a.mp4"])
def test_a_name_that_does_not_exist_is_an_error(library: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"There is no file or folder '.*{name}'"):
        found(name if name.startswith("~") else library / name)


def test_a_glob_that_matches_nothing_is_an_error(library: Path) -> None:
    with pytest.raises(UsageError, match=r"No file matches '.*\*\.flac'"):
        found(library / "*.flac")


def test_the_home_of_an_unknown_user_is_not_expanded() -> None:
    assert local_path("~unknown-user/a") == Path("~unknown-user/a")
    assert local_path("~/a") == Path.home() / "a"


@pytest.mark.parametrize("pattern", ["", "**", "**/*", "*"])
def test_links_to_files_are_followed_and_links_to_folders_are_not(
    library: Path, pattern: str
) -> None:
    (library / "link.mp4").symlink_to(library / "b.mp4")
    (library / "loop").symlink_to(library)
    assert found(library / pattern) == ["a[1].mp4", "b.mp4", "link.mp4", "talks/Day 1.MKV"]
    assert "1 linked folder" in left_out(library / pattern)


def test_a_link_to_a_folder_is_followed_if_it_is_named(library: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(library)
    assert found(tmp_path / "link") == ["a[1].mp4", "b.mp4", "talks/Day 1.MKV"]
    assert found(tmp_path / "link" / "*" / "*.MKV") == ["talks/Day 1.MKV"]


def test_what_a_search_leaves_out_is_counted_by_suffix(library: Path) -> None:
    for name in ("a.jpg", "b.JPG", "talks/read me", ".cache/a.mp4"):
        path = library / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    files = "5 files: 2 .jpg, 1 .txt, 1 hidden, 1 without a suffix"
    assert left_out(library) == f"{files}; 1 hidden folder"
    assert left_out(library / "*.jpg") == "1 file: 1 .jpg"
    assert left_out(library / "b.mp4") == ""


@pytest.mark.parametrize("pattern", ["*/*.mp4", "**/*.mp4", "*"])
def test_a_glob_yields_a_folder_that_it_cannot_list_as_an_unreadable_source(
    closed_folder: Path, pattern: str
) -> None:
    (source,) = find_local_files(str(closed_folder.parent / pattern))
    refusal = refuse_unusable(source)
    assert refusal
    assert (source.name, refusal.reason) == ("closed.d", "cannot be read: Permission denied")


def test_a_glob_below_a_folder_that_does_not_exist_matches_nothing(library: Path) -> None:
    for pattern in ("none/*.mp4", "b.mp4/*.mp4"):
        with pytest.raises(UsageError, match="No file matches"):
            found(library / pattern)


@pytest.mark.parametrize("name", ["line\nbreak.mp4", "\udcff.mp4", "\u202e4pm.mp4", "[b].mp4"])
def test_a_source_may_have_any_name(library: Path, name: str) -> None:
    (library / name).write_bytes(b"media")
    assert name in found(library)
    assert name in found(library / "*")


def test_two_dots_after_a_link_are_the_parent_of_its_target(library: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "a.mp4").write_bytes(b"other")
    (library / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    (source,) = find_local_files(str(library / "link" / ".." / "a.mp4"))
    assert Path(source.location).read_bytes() == b"other"
    assert (source.name, source.size_bytes) == ("a.mp4", 5)
    assert found(library / "talks" / "..") == found(library)


def test_a_link_to_itself_is_an_unreadable_source_with_a_reason(library: Path) -> None:
    (library / "loop.mp4").symlink_to("loop.mp4")
    (source,) = find_local_files(str(library / "loop.mp4"))
    refusal = refuse_unusable(source)
    assert refusal
    assert refusal.reason == "cannot be read: Too many levels of symbolic links"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_devices_and_sockets_are_unreadable_sources(library: Path) -> None:
    (library / "zero.mp4").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(library / "socket.mp4"))
        refusals = [refuse_unusable(source) for source in find_local_files(str(library))]
    assert {r.source.name: r.reason for r in refusals if r} == {
        "zero.mp4": "cannot be read: not a regular file",
        "socket.mp4": "cannot be read: not a regular file",
    }


def test_an_empty_name_is_an_error() -> None:
    with pytest.raises(UsageError, match="The name of a source is empty"):
        found("")


@pytest.mark.parametrize(
    ("pattern", "root"),
    [("/a/b*/c/*.mp4", "/a"), ("/none/a.mp4", "/none/a.mp4"), ("/*", "/"), ("/etc", "/etc")],
)
def test_a_search_begins_at_an_existing_path_or_above_the_first_wildcard(
    pattern: str, root: str
) -> None:
    assert list(search_roots(["az://c/x", pattern])) == [Path(root)]


def test_a_pipe_and_a_broken_link_are_unreadable_sources_with_a_reason(library: Path) -> None:
    os.mkfifo(library / "pipe.mp4")
    (library / "lost.mp4").symlink_to("nowhere")
    refusals = [refuse_unusable(source) for source in find_local_files(str(library))]
    assert {r.source.name: r.reason for r in refusals if r} == {
        "pipe.mp4": "cannot be read: not a regular file",
        "lost.mp4": "cannot be read: No such file or directory",
    }


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that cannot be listed, inside one that can. The test does not run as root."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        closed = Path(folder, "closed.d")
        closed.mkdir(mode=0o000)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        yield closed
        os.seteuid(user)
        closed.chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_an_unreadable_source(closed_folder: Path) -> None:
    (source,) = find_local_files(str(closed_folder.parent))
    refusal = refuse_unusable(source)
    assert refusal
    assert (source.name, refusal.reason) == ("closed.d", "cannot be read: Permission denied")


def test_a_named_folder_that_cannot_be_listed_has_a_name(
    closed_folder: Path,
) -> None:
    (source,) = find_local_files(str(closed_folder))
    assert (source.name, source.location) == (".", str(closed_folder))


def test_a_file_in_a_folder_without_permission_does_not_exist(closed_folder: Path) -> None:
    with pytest.raises(UsageError, match="There is no file or folder"):
        found(closed_folder / "a.mp4")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (source,) = find_local_files(str(tmp_path))
    refusal = refuse_unusable(source)
    assert refusal
    assert refusal.reason == "the file is empty"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("az://c", ("c", "")),
        ("az://c/", ("c", "")),
        ("az://c/talks/2026", ("c", "talks/2026")),
    ],
)
def test_an_address_has_a_container_and_a_prefix(address: str, expected: tuple[str, str]) -> None:
    assert split_address(address) == expected


def test_an_address_without_a_container_is_refused() -> None:
    with pytest.raises(UsageError, match="'az:///talks' does not name a container"):
        split_address("az:///talks")


def test_the_early_check_finds_a_name_that_does_not_exist(library: Path) -> None:
    check_sources_exist([str(library), "az://c/talks"])
    with pytest.raises(UsageError, match="There is no file or folder"):
        check_sources_exist([str(library), str(library / "none")])


def test_the_early_check_finds_that_no_source_has_media(library: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    check_sources_exist([str(empty), str(library)])
    check_sources_exist([str(empty), "az://c/talks"])
    with pytest.raises(UsageError, match="No media files found in"):
        check_sources_exist([str(empty)])


def test_the_error_about_a_missing_folder_has_its_expanded_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("~/Media", "~/Media/*.mp4"):
        with pytest.raises(UsageError) as caught:
            found(name)
        assert f"{name!r} ({tmp_path}{name[1:]})." in str(caught.value)


async def blobs_under(address: str) -> list[Source]:
    async with blob_service() as service:
        return [source async for source in find_blobs(service, address)]


async def test_names_of_blobs_are_relative_to_the_folder_of_the_prefix(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    for name in ("talks/a.mp4", "talks/deep/b.mov", "talks/notes.txt", "talks2/c.mp4", "talks/x"):
        container.upload_blob(name, b"media")

    async def names(prefix: str) -> list[str]:
        return [s.name for s in await blobs_under(f"az://{containers[0]}{prefix}")]

    assert await names("") == ["talks/a.mp4", "talks/deep/b.mov", "talks2/c.mp4"]
    assert await names("/talks/") == ["a.mp4", "deep/b.mov"]
    assert await names("/talks") == ["talks/a.mp4", "talks/deep/b.mov", "talks2/c.mp4"]
    assert await names("/talks/a.mp4") == ["a.mp4"]
    assert await names("/talks/x") == ["x"]


async def test_blobs_are_left_out_by_the_same_names_as_files(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    names = ("talks/", "talks/._a.mp4", "talks/a.mp4", "talks/b.jpg", "talks/.git/c.mp4", ".d.mp4")
    for name in names:
        container.upload_blob(name, b"media")

    async def search(address: str) -> tuple[list[str], str]:
        ignored = Ignored()
        async with blob_service() as service:
            found = [s.name async for s in find_blobs(service, address, ignored)]
        return found, str(ignored)

    address = f"az://{containers[0]}"
    assert await search(address) == (["talks/a.mp4"], "4 files: 3 hidden, 1 .jpg")
    assert await search(f"{address}/talks/") == (["a.mp4"], "3 files: 2 hidden, 1 .jpg")
    assert await search(f"{address}/talks/.") == (["._a.mp4", ".git/c.mp4"], "")
    assert await search(f"{address}/.d.mp4") == ([".d.mp4"], "")


async def test_a_blob_that_represents_a_folder_is_not_a_source(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    container.upload_blob("talks/", b"a folder")
    assert await blobs_under(f"az://{containers[0]}/talks/") == []


async def test_the_version_of_a_blob_is_its_md5_or_its_etag(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    container.upload_blob("a.mp4", b"media")
    unsummed = container.get_blob_client("b.mp4")
    unsummed.stage_block("0000", b"media")
    etag = unsummed.commit_block_list([BlobBlock("0000")])["etag"]
    checked, other = await blobs_under(f"az://{containers[0]}")
    assert checked.version == hashlib.md5(b"media", usedforsecurity=False).hexdigest()
    assert checked.location == f"az://{containers[0]}/a.mp4"
    assert other.version == etag.strip('"')


async def test_a_missing_container_is_an_error_with_its_name(
    account: dict[str, str],
) -> None:
    assert account
    with pytest.raises(UsageError, match=r"The container 'nosuch' of .* does not exist"):
        await blobs_under("az://nosuch/talks")
