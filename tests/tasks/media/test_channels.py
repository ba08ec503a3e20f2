import array
import wave
from collections.abc import Callable
from math import pi, sin
from pathlib import Path

import av
import pytest
from runner_node import Node

from tasks.media.channels import channel_warnings, sound_filters
from tasks.media.presets import PRESETS, preset_for

Clip = Callable[..., Path]
MP3, M4A, WAV = PRESETS["mp3"], PRESETS["m4a"], PRESETS["wav"]


def multitrack(path: Path, channels: int) -> Path:
    """Write 2 s of WAV without a layout. All channels are silent but the last, which has a tone."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for number in range(32_000):
            tone = int(20_000 * sin(2 * pi * 440 * number / 16_000))
            file.writeframes(array.array("h", [0] * (channels - 1) + [tone]).tobytes())
    return path


@pytest.mark.parametrize(
    ("channels", "preset", "expected"),
    [
        (6, "mp3", "The source has 6 channels; MP3 holds 2, so they are mixed down."),
        (24, "m4a", "The source has 24 channels; M4A holds 8, so they are mixed down."),
        (9, "webm", "The source has 9 channels; WebM holds 8, so they are mixed down."),
    ],
)
def test_more_channels_than_the_format_holds_are_a_warning(
    channels: int, preset: str, expected: str
) -> None:
    assert channel_warnings(channels, PRESETS[preset]) == (expected,)


def test_channels_that_the_format_holds_or_the_user_sets_are_no_warning() -> None:
    assert channel_warnings(0, MP3) == channel_warnings(2, MP3) == channel_warnings(8, M4A) == ()
    assert channel_warnings(64, WAV) == ()
    assert channel_warnings(6, preset_for("mp3", ["-ac", "1"])) == ()
    assert channel_warnings(6, preset_for("mp3", ["-c:a", "copy"])) == ()


def test_channels_without_a_known_layout_are_mixed_alternately_to_left_and_right() -> None:
    chain = sound_filters(9, MP3)
    mixing, _, own = chain.partition(",")
    assert mixing == "pan=stereo|c0<c0+c2+c4+c6+c8|c1<c1+c3+c5+c7"
    assert own == MP3.arguments[MP3.arguments.index("-af") + 1]


def test_ffmpeg_itself_mixes_layouts_that_it_knows() -> None:
    for channels, preset in ((8, MP3), (8, M4A), (40, WAV)):
        assert sound_filters(channels, preset) == sound_filters(2, preset)
    assert sound_filters(40, preset_for("mp3", ["-c:a", "copy"])) == ""


@pytest.mark.parametrize(
    ("channels", "preset", "made"),
    [
        (16, "mp3", 2),
        (24, "m4a", 2),
        (9, "opus", 2),
        (20, "flac", 2),
        (20, "wav", 20),
        (7, "mp3", 2),
    ],
)
def test_many_channels_are_converted(any_node: Node, channels: int, preset: str, made: int) -> None:
    multitrack(any_node.folder / "input", channels)
    result = any_node.convert(PRESETS[preset])
    assert result.status == 0, result.stderr
    assert result.seconds == pytest.approx(2, abs=0.1)
    with av.open(str(result.folder / f"output{PRESETS[preset].suffix}")) as output:
        assert output.streams.audio[0].channels == made


@pytest.mark.parametrize("preset", ["mp3", "m4a", "opus", "flac"])
def test_surround_is_kept_where_the_format_holds_it(
    any_node: Node, clip: Clip, preset: str
) -> None:
    (any_node.folder / "input").write_bytes(clip(".wav", layout="5.1").read_bytes())
    result = any_node.convert(PRESETS[preset])
    assert result.status == 0, result.stderr
    with av.open(str(result.folder / f"output{PRESETS[preset].suffix}")) as output:
        assert output.streams.audio[0].channels == (2 if preset == "mp3" else 6)
