import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.media.probe import FORMATS
from tasks.media.truncation import CHECKED_FORMATS, TAIL_BYTES, ends_midway, lacks_bytes

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
    """A format's name, and a whole file of it."""
    name, suffix, shape = request.param
    return name, clip(suffix, audio=20, **shape).read_bytes()


def test_a_whole_file_does_not(kind: tuple[str, bytes]) -> None:
    name, content = kind
    assert not ends_midway(name, content[-TAIL_BYTES:])


def test_a_file_cut_anywhere_but_between_two_packets_does(kind: tuple[str, bytes]) -> None:
    name, content = kind
    chance = random.Random(7)  # noqa: S311  the same each time
    ends = [chance.randrange(len(content) // 4, len(content) - 1) for _ in range(200)]
    found = [ends_midway(name, content[max(0, end - TAIL_BYTES) : end]) for end in ends]
    assert sum(found) >= 195


@pytest.mark.parametrize(
    "tags",
    [b"TAG" + bytes(125), b"APETAGEX\xd0\x07" + bytes(22), b"LYRICSBEGIN" + b"x" * 99, bytes(500)],
    ids=["id3", "ape", "lyrics", "zeros"],
)
def test_tags_behind_the_last_frame_are_no_part_of_it(clip: Clip, tags: bytes) -> None:
    content = clip(".mp3", muxer=(("write_xing", "0"),)).read_bytes()
    assert not ends_midway("mp3", (content + tags)[-TAIL_BYTES:])


@pytest.mark.parametrize("name", sorted(CHECKED_FORMATS))
@pytest.mark.parametrize("content", [b"", b"O", b"\xff" * 9, bytes(1000), b"OggS", b"G" * 9])
def test_rubbish_tells_nothing_and_breaks_nothing(name: str, content: bytes) -> None:
    assert ends_midway(name, content) in (True, False)
    assert not ends_midway(name, content + b"Dear diary" * 9000)


def test_a_recorders_caf_that_does_not_say_how_long_it_is_lacks_nothing() -> None:
    description = b"desc" + (32).to_bytes(8, "big") + bytes(32)
    sound = b"data" + (-1).to_bytes(8, "big", signed=True) + b"\x12\x34" * 400
    head = b"caff\0\1\0\0" + description + sound
    assert not lacks_bytes("caf", head, size_bytes=len(head))


def test_every_format_with_an_ending_is_one_that_may_be_opened() -> None:
    assert set(FORMATS) >= CHECKED_FORMATS
