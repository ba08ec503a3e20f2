import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from records import a_file, a_source

from tasks.media.hashing import hash_files, hash_sources, shards
from tasks.models import Source

InFlow = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
Hash = Callable[..., Awaitable[dict[Source, str]]]


@pytest.fixture
def hashed(in_flow: InFlow) -> Hash:
    """Hashes sources inside a flow."""

    async def run(*sources: Source) -> dict[Source, str]:
        found: dict[Source, str] = await in_flow(lambda: hash_sources(sources))
        return found

    return run


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_a_files_hash_is_that_of_its_content(hashed: Hash, tmp_path: Path) -> None:
    large = os.urandom(3 * 1024 * 1024 + 1)
    one, two = a_file(tmp_path / "a.mp4", large), a_file(tmp_path / "b.mp4", b"b")
    assert await hashed(one, two) == {one: digest(large), two: digest(b"b")}


async def test_a_file_is_read_once_and_again_when_it_has_changed(
    hashed: Hash, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    source = a_file(path, b"before")
    before = await hashed(source)
    path.write_bytes(b"behind our back")
    assert await hashed(source) == before
    changed = a_file(path, b"after")
    assert await hashed(changed) == {changed: digest(b"after")}


async def test_a_file_that_could_not_be_read_is_left_out_and_read_the_next_time(
    hashed: Hash, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    source = a_file(path, b"content")
    path.rename(tmp_path / "away")
    assert await hashed(source) == {}
    (tmp_path / "away").rename(path)
    assert await hashed(source) == {source: digest(b"content")}


async def test_a_name_that_is_no_text_is_hashed_like_any_other(
    hashed: Hash, tmp_path: Path
) -> None:
    source = a_file(tmp_path / os.fsdecode(b"\xff.mp4"), b"content")
    assert await hashed(source) == {source: digest(b"content")}


async def test_a_blobs_hash_changes_with_its_version_and_is_made_without_reading_it(
    hashed: Hash,
) -> None:
    one = a_source(location="az://c/a.mp4", version="1")
    two = a_source(location="az://c/a.mp4", version="2")
    hashes = await hashed(one, two)
    assert len({*hashes.values()}) == 2


async def test_files_that_are_gone_hash_to_nothing() -> None:
    assert await hash_files.fn([("/nowhere/a.mp4", 1, "1")]) == ""


@pytest.mark.parametrize("count", [0, 1, 250, 251, 1000])
def test_every_source_is_in_one_shard_of_some_two_hundred(count: int) -> None:
    sources = [a_source(f"{n}.mp4") for n in range(count)]
    parts = shards(sources)
    assert sorted(s.name for part in parts for s in part) == sorted(s.name for s in sources)
    assert all(len(part) < 400 for part in parts)


def test_a_new_file_changes_one_shard_only() -> None:
    sources = [a_source(f"{n}.mp4") for n in range(300)]
    before = {frozenset(part) for part in shards(sources)}
    after: set[frozenset[Source]] = {frozenset(p) for p in shards([*sources, a_source("new.mp4")])}
    assert len(after - before) == 1
