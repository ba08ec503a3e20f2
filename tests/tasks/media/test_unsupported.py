from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.media import suffixes, unsupported
from tasks.media.probe import probe
from tasks.media.streams import UnreadableMedia

Clip = Callable[..., Path]
SOUND = "convert it to WAV or FLAC first"


def reason(path: Path) -> str:
    with pytest.raises(UnreadableMedia) as refused:
        probe(str(path))
    return str(refused.value)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"DSD " + (28).to_bytes(8, "little"), "DSD"),
        (b"FRM8" + bytes(8) + b"DSD FVER", "DSD"),
        (b"MPCKSH", "Musepack"),
        (b"MP+\x07", "Musepack"),
        (b"tBaK\x01\x0a", "TAK"),
        (b"ajkg\x02", "Shorten"),
        (b"RIFF\x10\0\0\0RMIDdata", "MIDI"),
        (b"\0\0\x10\0\x57\x90\x75\x36", "Audible"),
    ],
)
def test_a_format_that_is_not_opened_is_named_with_a_remedy(
    tmp_path: Path, head: bytes, name: str
) -> None:
    (tmp_path / "a.wav").write_bytes(head + bytes(5000))
    assert reason(tmp_path / "a.wav") == f"this format is not supported ({name}): {SOUND}"


def test_a_tag_before_the_first_bytes_is_skipped(tmp_path: Path) -> None:
    tag = b"ID3\3\0\0\0\0\2\x2c" + bytes(300)
    (tmp_path / "a.mpc").write_bytes(tag + b"MPCKSH" + bytes(5000))
    assert reason(tmp_path / "a.mpc") == f"this format is not supported (Musepack): {SOUND}"


def test_a_film_and_a_playlist_have_their_own_remedies(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b".RMF\0\0\0\x12" + bytes(5000))
    assert reason(tmp_path / "a").endswith("(RealMedia): convert it to MP4 or MKV first")
    (tmp_path / "a").write_bytes(b"#EXTM3U\na.mp3\n")
    assert reason(tmp_path / "a").endswith("(playlist): name the files that it refers to")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".wav", ".flac", ".mp3", ".ts", ".mpg", ".avi"])
def test_the_first_bytes_of_a_supported_format_are_not_in_the_table(
    clip: Clip, suffix: str
) -> None:
    head = clip(suffix).read_bytes()[: unsupported.MAGIC_BYTES]
    assert unsupported.unsupported_format(head) is None


def test_no_suffix_is_both_supported_and_not() -> None:
    supported = {suffix for group in suffixes.SUFFIXES.values() for suffix in group}
    assert not supported & unsupported.SUFFIXES
