import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.media.asf_header import declared_seconds, last_packet
from tasks.media.probe import probe
from tasks.media.streams import UnreadableMedia

Clip = Callable[..., Path]
FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
PREROLL_SECONDS = 3.1  # as FFmpeg writes it


def with_length(asf: bytes, seconds: float, *, flags: int = 2) -> bytes:
    """Return the file with another length and other flags in its header."""
    at, content = asf.index(FILE_PROPERTIES), bytearray(asf)
    struct.pack_into("<Q", content, at + 64, round((seconds + PREROLL_SECONDS) * 10_000_000))
    struct.pack_into("<I", content, at + 88, flags)
    return bytes(content)


def read_seconds(asf: bytes) -> float | None:
    begin, end = last_packet(asf)
    return declared_seconds(asf, asf[begin:end])


def test_the_length_is_the_play_duration_without_the_preroll(clip: Clip) -> None:
    whole = clip(".wma", audio=6).read_bytes()
    assert last_packet(whole)[1] == pytest.approx(len(whole), abs=100)  # an index follows
    assert read_seconds(whole) == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize("seconds", [60, 0, -PREROLL_SECONDS])
def test_a_length_that_cannot_be_true_is_not_declared(clip: Clip, seconds: float) -> None:
    whole = clip(".wma", audio=6).read_bytes()
    assert read_seconds(with_length(whole, seconds)) is None


def test_a_broadcast_declares_neither_a_length_nor_packets(clip: Clip) -> None:
    live = with_length(clip(".wma", audio=6).read_bytes(), 6, flags=3)
    assert read_seconds(live) is None
    assert last_packet(live) == (0, 0)


@pytest.mark.parametrize("head", [b"", b"0" * 40, FILE_PROPERTIES, FILE_PROPERTIES + b"\xff" * 90])
def test_bytes_that_are_not_a_header_declare_nothing(head: bytes) -> None:
    assert declared_seconds(head, b"") is None
    assert declared_seconds(head, b"\xff" * 9) is None


def test_a_cut_file_is_refused(clip: Clip, tmp_path: Path) -> None:
    whole = clip(".wma", audio=6).read_bytes()
    (tmp_path / "a.wma").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(UnreadableMedia, match="cut short: its end is missing"):
        probe(str(tmp_path / "a.wma"))
