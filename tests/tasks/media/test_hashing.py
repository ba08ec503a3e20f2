import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from records import a_file, a_source

from tasks.media.hashing import hash_files, hash_sources, split_into_shards
from tasks.models import Source

InFlow = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
Hash = Callable[..., Awaitable[dict[Source, str]]]


@pytest.fixture
def hashed(in_flow: InFlow) -> Hash:
    """A function that hashes sources inside a flow."""

    async def run(*sources: Source) -> dict[Source, str]:
        found: dict[Source, str] = await in_flow(lambda: hash_sources(sources))
        return found

    return run


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_the_hash_of_a_file_is_its_sha_256(hashed: Hash, tmp_path: Path) -> None:
    large = os.urandom(3 * 1024 * 1024 + 1)
    one, two = a_file(tmp_path / "a.mp4", large), a_file(tmp_path / "b.mp4", b"b")
    assert await hashed(one, two) == {one: digest(large), two: digest(b"b")}


async def test_a_file_is_read_again_only_when_its_size_or_time_has_changed(
    hashed: Hash, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    source = a_file(path, b"before")
    before = await hashed(source)
    path.write_bytes(b"sneaky")
    assert await hashed(source) == before
    changed = a_file(path, b"after")
    assert await hashed(changed) == {changed: digest(b"after")}


async def test_an_unreadable_file_is_left_out_and_read_the_next_time(
    hashed: Hash, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    source = a_file(path, b"content")
    path.rename(tmp_path / "away")
    assert await hashed(source) == {}
    (tmp_path / "away").rename(path)
    assert await hashed(source) == {source: digest(b"content")}


async def test_a_file_whose_name_is_not_utf_8_is_hashed(hashed: Hash, tmp_path: Path) -> None:
    source = a_file(tmp_path / os.fsdecode(b"\xff.mp4"), b"content")
    assert await hashed(source) == {source: digest(b"content")}


async def test_the_hash_of_a_blob_changes_with_its_version_without_reading_the_blob(
    hashed: Hash,
) -> None:
    one = a_source(location="az://c/a.mp4", version="1")
    two = a_source(location="az://c/a.mp4", version="2")
    hashes = await hashed(one, two)
    assert len({*hashes.values()}) == 2


async def test_a_missing_file_has_an_empty_hash() -> None:
    assert await hash_files.fn([("/nowhere/a.mp4", 1, "1")]) == ""


@pytest.mark.parametrize("count", [0, 1, 250, 251, 1000])
def test_every_source_is_in_exactly_one_shard_of_fewer_than_400_files(count: int) -> None:
    sources = [a_source(f"{n}.mp4") for n in range(count)]
    parts = split_into_shards(sources)
    assert sorted(s.name for part in parts for s in part) == sorted(s.name for s in sources)
    assert all(len(part) < 400 for part in parts)


def test_a_new_file_changes_only_one_shard() -> None:
    sources = [a_source(f"{n}.mp4") for n in range(300)]
    before = {frozenset(part) for part in split_into_shards(sources)}
    more = [*sources, a_source("new.mp4")]
    after: set[frozenset[Source]] = {frozenset(part) for part in split_into_shards(more)}
    assert len(after - before) == 1
