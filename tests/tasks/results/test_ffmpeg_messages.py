from collections.abc import Callable
from pathlib import Path

import pytest
from runner_node import EX_DATAERR, Node

from tasks.media.ffmpeg_command import ffmpeg_words
from tasks.media.presets import PRESETS
from tasks.results.ffmpeg_messages import quotable

ADDRESS = "[mov,mp4,m4a,3gp,3g2,mj2 @ 0x55d0c0ffee] "


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{ADDRESS}moov atom not found", "its index (moov) is missing"),
        ("file:input: Invalid data found", "the source: Invalid data found"),
        (
            "[in#0 @ 0x1a] [dec:aac @ 0x2b] channel element 1 is missing",
            "channel element 1 is missing",
        ),
        (f"{ADDRESS}Format not on whitelist 'aac,ac3'", "this format is not supported"),
        (
            f"{ADDRESS}Protocol 'https' not on whitelist 'file'!",
            "it refers to another file or address",
        ),
        (
            "[h264 @ 0x1a] Picture size 60000x60000 exceeds specified max pixel count 134217728",
            "its pictures are too large",
        ),
        ("file:output.mp3: No space left on device", "the output: No space left on device"),
        ("No such filter: 'zscale'", "No such filter: 'zscale'"),
    ],
)
def test_a_message_is_quoted_in_the_words_of_the_user(line: str, expected: str) -> None:
    assert quotable([line], most=3) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "Consider increasing the value for the 'analyzeduration' (0) and 'probesize' (50) options",
        "Unrecognized option 'max_error_rate'.",
        "Failed to set value '0:V:0' for option 'map': Invalid argument",
        "Stream map '0:V:0' matches no streams.",
        "To ignore this, add a trailing '?' to the map.",
        "Error while opening encoder - maybe incorrect parameters such as bit_rate, rate, width",
        "[Parsed_asetpts_0 @ 0xb] [Eval @ 0x7] Unknown function in ');if(eq(N,0),st(0,PTS))'",
        "[AVFilterGraph @ 0xc] Error initializing filter 'asetpts' with args 'st(4,0);PTS'",
        "Output file is empty, nothing was encoded (check -ss / -t / -frames parameters if used)",
        "[aost#0:0/aac @ 0xa] Task finished with error code: -22 (Invalid argument)",
        "Error opening output file file:output.mp3.",
        "    Last message repeated 12 times",
        "[aist#0:0/aac @ 0xa] Guessed Channel Layout: mono",
        "[asf @ 0xa] Estimating duration from bitrate, this may be inaccurate",
    ],
)
def test_settings_advice_and_consequences_are_not_quoted(line: str) -> None:
    assert quotable([line], most=3) == []


def test_the_last_different_messages_are_quoted() -> None:
    assert quotable(["a", "b", "c", "c", "d", "c"], most=3) == ["b", "c", "d"]


def internal_words() -> set[str]:
    """Return the names of ffmpeg's options, and the filters, that the runner sets."""
    words = {word for preset in PRESETS.values() for word in ffmpeg_words(preset)}
    options = {word[1:] for word in words if word.startswith("-") and len(word) > 3}
    return options - {"preset", "progress"} | {"asetpts", "aresample", "aformat", "whitelist"}


SOURCES: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda _: b"Dear diary,\n" * 100,
    "playlist": lambda _: b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n",
    "without an index": lambda film: film[: len(film) // 2],
    "of an unknown codec": lambda film: film.replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"),
    "of noise": lambda film: film.replace(film[60:9000], bytes(n * n % 251 for n in range(8940))),
    "without pictures": lambda film: film.replace(b"avc1", b"zzzz"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_no_setting_appears_in_a_reason(
    clip: Callable[..., Path], any_node: Node, source: str
) -> None:
    (any_node.folder / "input").write_bytes(SOURCES[source](clip(".mp4").read_bytes()))
    preset = PRESETS["mp4-720p"]
    result = any_node.run(*preset.arguments, output="o.mp4", sound="0 2 2 0", picture="0 2 2 0")
    assert result.status == EX_DATAERR, result.stderr
    text = " ".join(quotable(result.stderr.splitlines(), most=9))
    assert not [word for word in internal_words() if word in text]
