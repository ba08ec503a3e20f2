import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.media.input_limits import FORMATS
from tasks.media.truncation import (
    CHECKED_FORMATS,
    TAIL_BYTES,
    declares_more_bytes,
    has_size_placeholder,
    is_cut_at_end,
)

Clip = Callable[..., Path]
KINDS = {
    "adts": ("aac", ".aac", {}),
    "mp3": ("mp3", ".mp3", {"muxer": (("write_xing", "0"),)}),
    "mpegts": ("mpegts", ".ts", {}),
    "m2ts": ("mpegts", ".ts", {"muxer": (("mpegts_m2ts_mode", "1"),)}),
    "mpeg": ("mpeg", ".mpg", {}),
    "ogg": ("ogg", ".ogg", {}),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request: pytest.FixtureRequest, clip: Clip) -> tuple[str, bytes]:
    """The name of a format, and a whole file in it."""
    name, suffix, shape = request.param
    return name, clip(suffix, audio=20, **shape).read_bytes()


def test_a_whole_file_is_not_cut_at_its_end(kind: tuple[str, bytes]) -> None:
    name, content = kind
    assert not is_cut_at_end(name, content[-TAIL_BYTES:])


def test_a_file_cut_inside_a_packet_is_cut_at_its_end(kind: tuple[str, bytes]) -> None:
    name, content = kind
    chance = random.Random(7)  # noqa: S311  the same positions in each run
    ends = [chance.randrange(len(content) // 4, len(content) - 1) for _ in range(200)]
    found = [is_cut_at_end(name, content[max(0, end - TAIL_BYTES) : end]) for end in ends]
    assert sum(found) >= 195  # a few positions lie between two packets


@pytest.mark.parametrize(
    "tags",
    [b"TAG" + bytes(125), b"APETAGEX\xd0\x07" + bytes(22), b"LYRICSBEGIN" + b"x" * 99, bytes(500)],
    ids=["id3", "ape", "lyrics", "zeros"],
)
def test_tags_after_the_last_frame_are_not_a_cut_frame(clip: Clip, tags: bytes) -> None:
    content = clip(".mp3", muxer=(("write_xing", "0"),)).read_bytes()
    assert not is_cut_at_end("mp3", (content + tags)[-TAIL_BYTES:])


@pytest.mark.parametrize("name", sorted(CHECKED_FORMATS))
@pytest.mark.parametrize("content", [b"", b"O", b"\xff" * 9, bytes(1000), b"OggS", b"G" * 9])
def test_bytes_of_another_format_raise_no_error(name: str, content: bytes) -> None:
    assert is_cut_at_end(name, content) in (True, False)
    assert not is_cut_at_end(name, content + b"Dear diary" * 9000)


def test_a_caf_file_of_unknown_length_does_not_declare_more_bytes() -> None:
    description = b"desc" + (32).to_bytes(8, "big") + bytes(32)
    sound = b"data" + (-1).to_bytes(8, "big", signed=True) + b"\x12\x34" * 400
    head = b"caff\0\1\0\0" + description + sound
    assert not declares_more_bytes("caf", head, size_bytes=len(head))


@pytest.mark.parametrize(
    ("declared", "expected"), [(0, True), (0xFFFF_FFFF, True), (0x7FFF_FFFF, True), (2000, False)]
)
def test_a_size_that_a_recorder_has_not_completed_is_a_placeholder(
    declared: int,
    expected: bool,  # noqa: FBT001  from a table
) -> None:
    head = b"RIFF" + declared.to_bytes(4, "little") + b"AVI "
    assert has_size_placeholder(head, size_bytes=1000) is expected


def test_a_large_file_has_its_true_size() -> None:
    head = b"RIFF\xf8\xff\xff\x7fAVI "
    assert not has_size_placeholder(head, size_bytes=0x8000_0000)


def test_every_checked_format_may_be_opened() -> None:
    assert set(FORMATS) >= CHECKED_FORMATS
