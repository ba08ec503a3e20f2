"""Codecs and headers that versions of ffmpeg treat differently."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from runner_node import EX_DATAERR, Node

from tasks.media.presets import PRESETS

Clip = Callable[..., Path]


@pytest.fixture
def speex(ffmpeg_of: Callable[[str], Path]) -> Callable[..., bytes]:
    """A function that makes 3 s of Speex with ffmpeg 4.2, which has an encoder."""

    def make(hertz: int, channels: int) -> bytes:
        words = ["-f", "lavfi", "-i", "sine=d=3", "-ar", str(hertz), "-ac", str(channels)]
        command = [str(ffmpeg_of("4.2") / "ffmpeg"), "-loglevel", "error", *words]
        encode = [*command, "-c:a", "libspeex", "-f", "ogg", "-"]
        return subprocess.run(encode, capture_output=True, check=True).stdout

    return make


@pytest.mark.parametrize("preset", ["m4a", "mp3"])
@pytest.mark.parametrize(("hertz", "channels"), [(16_000, 2), (8000, 1)])
def test_speex_is_converted_or_this_version_of_ffmpeg_is_the_reason(
    any_node: Node, speex: Callable[..., bytes], hertz: int, channels: int, preset: str
) -> None:
    (any_node.folder / "input").write_bytes(speex(hertz, channels))
    result = any_node.convert(PRESETS[preset])
    if hertz > 8000 and "ffmpeg-7.0" in str(Path(any_node.path.split(":")[0], "ffmpeg").resolve()):
        assert result.status == EX_DATAERR
        assert "this version of ffmpeg decodes 3.00 s of Speex to 6.00 s" in result.last_line
        return
    assert result.status == 0, result.stderr
    assert (result.seconds, result.verified.warnings) == (pytest.approx(3, abs=0.1), ())


@pytest.mark.parametrize("suffix", [".avi", ".wma"])
def test_a_header_that_was_never_completed_is_no_cut(
    any_node: Node, clip: Clip, suffix: str
) -> None:
    live = clip(suffix, audio=6, video=6, seekable=False)
    (any_node.folder / "input").write_bytes(live.read_bytes())
    result = any_node.convert(PRESETS["mp3"])
    assert result.status == 0, result.stderr
    assert (result.seconds, result.verified.warnings) == (pytest.approx(6, abs=0.15), ())
