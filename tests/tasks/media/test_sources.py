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
from tasks.media.sources import check_sources, find_blobs, find_local, is_media, starting_points
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
    return [source.name for source in find_local(str(pattern))]


def test_a_folder_gives_its_media_files_at_any_depth(library: Path) -> None:
    assert found(library) == ["a[1].mp4", "b.mp4", "talks/Day 1.MKV"]


def test_a_source_has_its_place_its_size_and_its_time(library: Path) -> None:
    (source,) = find_local(str(library / "b.mp4"))
    changed = (library / "b.mp4").stat().st_mtime_ns
    assert source == Source("b.mp4", str(library / "b.mp4"), 5, str(changed))


def test_a_file_is_taken_whatever_its_suffix(library: Path) -> None:
    assert found(library / "talks/notes.txt") == ["notes.txt"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(library: Path) -> None:
    assert found(library / "a[1].mp4") == ["a[1].mp4"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.mp4", ["a[1].mp4", "b.mp4"]),
        ("**/*.MKV", ["talks/Day 1.MKV"]),
        ("t*", ["talks/Day 1.MKV"]),
        ("talks/*", ["Day 1.MKV"]),
    ],
)
def test_a_glob_gives_names_below_its_first_wildcard(
    library: Path, pattern: str, expected: list[str]
) -> None:
    assert found(library / pattern) == expected


def test_relative_patterns_start_at_the_working_directory(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library)
    assert found("*.mp4") == ["a[1].mp4", "b.mp4"]
    assert found(".") == ["a[1].mp4", "b.mp4", "talks/Day 1.MKV"]
    assert {Path(source.location).is_absolute() for source in find_local(".")} == {True}


@pytest.mark.parametrize("name", ["none.mp4", "x" * 300, "~nobody-of-that-name/a.mp4"])
def test_a_name_that_leads_nowhere_is_an_error_that_says_so(library: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"There is no file or folder '.*{name}'"):
        found(name if name.startswith("~") else library / name)


def test_a_glob_that_matches_nothing_is_an_error_that_says_so(library: Path) -> None:
    with pytest.raises(UsageError, match=r"No file matches '.*\*\.flac'"):
        found(library / "*.flac")


def test_an_unknown_users_home_is_left_as_it_is_written() -> None:
    assert local_path("~nobody-of-that-name/a") == Path("~nobody-of-that-name/a")
    assert local_path("~/a") == Path.home() / "a"


def test_a_link_to_a_file_is_followed_and_one_to_a_folder_is_not(library: Path) -> None:
    (library / "link.mp4").symlink_to(library / "b.mp4")
    (library / "loop").symlink_to(library)
    assert found(library) == ["a[1].mp4", "b.mp4", "link.mp4", "talks/Day 1.MKV"]


def test_behind_a_link_two_dots_are_its_targets_parent(library: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "a.mp4").write_bytes(b"other")
    (library / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    (source,) = find_local(str(library / "link" / ".." / "a.mp4"))
    assert Path(source.location).read_bytes() == b"other"
    assert (source.name, source.size_bytes) == ("a.mp4", 5)
    assert found(library / "talks" / "..") == found(library)


def test_a_link_that_leads_to_itself_is_a_source_that_says_why(library: Path) -> None:
    (library / "loop.mp4").symlink_to("loop.mp4")
    (source,) = find_local(str(library / "loop.mp4"))
    refusal = refuse_unusable(source)
    assert refusal
    assert refusal.reason == "cannot be read: Too many levels of symbolic links"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there are no devices here")
def test_devices_and_sockets_are_no_files(library: Path) -> None:
    (library / "zero.mp4").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(library / "socket.mp4"))
        refusals = [refuse_unusable(source) for source in find_local(str(library))]
    assert {r.source.name: r.reason for r in refusals if r} == {
        "zero.mp4": "cannot be read: it is not a file",
        "socket.mp4": "cannot be read: it is not a file",
    }


def test_no_name_is_an_error_that_says_so() -> None:
    with pytest.raises(UsageError, match="A source is empty"):
        found("")


@pytest.mark.parametrize(
    ("pattern", "point"),
    [("/a/b*/c/*.mp4", "/a"), ("/none/a.mp4", "/none/a.mp4"), ("/*", "/"), ("/etc", "/etc")],
)
def test_a_search_begins_at_what_is_there_or_above_the_first_wildcard(
    pattern: str, point: str
) -> None:
    assert list(starting_points(["az://c/x", pattern])) == [Path(point)]


def test_what_is_no_file_or_leads_nowhere_is_a_source_that_says_why(library: Path) -> None:
    os.mkfifo(library / "pipe.mp4")
    (library / "lost.mp4").symlink_to("nowhere")
    refusals = [refuse_unusable(source) for source in find_local(str(library))]
    assert {r.source.name: r.reason for r in refusals if r} == {
        "pipe.mp4": "cannot be read: it is not a file",
        "lost.mp4": "cannot be read: No such file or directory",
    }


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that may not be listed, in one that may: seen by a user who is not root."""
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


def test_a_folder_that_cannot_be_listed_is_a_source_that_says_why(closed_folder: Path) -> None:
    (source,) = find_local(str(closed_folder.parent))
    refusal = refuse_unusable(source)
    assert refusal
    assert (source.name, refusal.reason) == ("closed.d", "cannot be read: Permission denied")


def test_a_folder_that_is_named_itself_and_cannot_be_listed_has_a_name(
    closed_folder: Path,
) -> None:
    (source,) = find_local(str(closed_folder))
    assert (source.name, source.location) == (".", str(closed_folder))


def test_a_file_in_a_folder_that_may_not_be_entered_is_not_there(closed_folder: Path) -> None:
    with pytest.raises(UsageError, match="There is no file or folder"):
        found(closed_folder / "a.mp4")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (source,) = find_local(str(tmp_path))
    refusal = refuse_unusable(source)
    assert refusal
    assert refusal.reason == "the file is empty"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.mp4", True), ("A.MKV", True), ("a.txt", False), ("mp4", False), ("folder.mp4/", False)],
)
def test_media_is_known_by_its_suffix(name: str, expected: bool) -> None:  # noqa: FBT001  a table
    assert is_media(name) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("az://c", ("c", "")),
        ("az://c/", ("c", "")),
        ("az://c/talks/2026", ("c", "talks/2026")),
    ],
)
def test_an_address_is_a_container_and_a_prefix(address: str, expected: tuple[str, str]) -> None:
    assert split_address(address) == expected


def test_an_address_without_a_container_is_refused() -> None:
    with pytest.raises(UsageError, match="'az:///talks' names no container"):
        split_address("az:///talks")


def test_a_check_ahead_finds_the_name_that_leads_nowhere(library: Path) -> None:
    check_sources([str(library), "az://c/talks"])
    with pytest.raises(UsageError, match="There is no file or folder"):
        check_sources([str(library), str(library / "none")])


async def blobs_under(address: str) -> list[Source]:
    async with blob_service() as service:
        return [source async for source in find_blobs(service, address)]


async def test_blobs_are_named_below_the_folder_of_their_prefix(
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


async def test_a_blob_that_stands_for_a_folder_is_no_source(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    container.upload_blob("talks/", b"a folder, to some tools")
    assert await blobs_under(f"az://{containers[0]}/talks/") == []


async def test_a_blob_bears_its_checksum_or_else_its_etag_as_its_version(
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


async def test_a_container_that_is_not_there_is_an_error_that_names_it(
    account: dict[str, str],
) -> None:
    assert account
    with pytest.raises(UsageError, match="There is no container 'nosuch'"):
        await blobs_under("az://nosuch/talks")
