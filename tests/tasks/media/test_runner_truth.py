"""What nodes call converted contains all of its source, on each version of ffmpeg."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import (
    heard_seconds,
    loud_periods,
    seen_pictures,
    starting_early,
    with_jump,
    with_transmission_pauses,
    without_sound,
    zeroed,
)
from ffmpegs import EACH
from runner_node import EX_DATAERR, Node, RunnerResult
from tracks import Track, source_with

from tasks.media.presets import PRESETS

Clip = Callable[..., Path]
SOUND = ("mp3", "m4a", "opus", "flac", "wav")
FILMS = ("mp4-720p", "webm")


class Converter:
    """Converts a source with one version of ffmpeg, and listens to the output."""

    def __init__(self, folder: Path, ffmpeg: Path, tools: Path) -> None:
        self.folder, self.ffmpeg, self.tools = folder, ffmpeg, tools

    def convert(self, source: Path | bytes, preset: str = "mp3") -> RunnerResult:
        if isinstance(source, Path):
            shutil.copyfile(source, self.folder / "input")
        else:
            (self.folder / "input").write_bytes(source)
        node = Node(self.folder, f"{self.ffmpeg}:{self.tools}")
        return node.convert(PRESETS[preset])

    def listen(self, preset: str = "mp3") -> list[tuple[float, float]]:
        return loud_periods(self.output(preset), self.ffmpeg / "ffmpeg")

    def length(self, preset: str = "mp3") -> float:
        return heard_seconds(self.output(preset), self.ffmpeg / "ffmpeg")

    def output(self, preset: str) -> Path:
        return self.folder / f"output{PRESETS[preset].suffix}"


@pytest.fixture(params=EACH)
def converter(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    ffmpeg_of: Callable[[str], Path],
    tools_folder: Path,
) -> Converter:
    (tmp_path / "node").mkdir()
    return Converter(tmp_path / "node", ffmpeg_of(request.param), tools_folder)


def about(*periods: tuple[float, float]) -> list[object]:
    return [pytest.approx(period, abs=0.15) for period in periods]


@pytest.mark.parametrize("preset", SOUND)
def test_a_gap_becomes_silence_and_a_warning(
    converter: Converter, clip: Clip, tmp_path: Path, preset: str
) -> None:
    source = without_sound(clip(".mkv", audio=8, video=8), tmp_path / "gap.mkv", 2, 5)
    result = converter.convert(source, preset)
    assert result.status == 0, result.stderr
    found = result.verified
    assert found.seconds == pytest.approx(8, abs=0.15)
    assert found.missing_seconds == pytest.approx(3, abs=0.1)
    assert found.warnings == (
        "The source has no sound from 2.0 s to 5.0 s; the output is silent there.",
    )
    assert converter.listen(preset) == about((0, 2), (5, 8))


@pytest.mark.parametrize("suffix", [".mp4", ".m4a", ".ts", ".flv", ".webm", ".mov"])
def test_a_gap_becomes_silence_in_each_format_with_times(
    converter: Converter, clip: Clip, tmp_path: Path, suffix: str
) -> None:
    source = without_sound(clip(suffix, audio=8, video=8), tmp_path / f"gap{suffix}", 2, 5)
    result = converter.convert(source)
    assert result.status == 0, result.stderr
    assert result.verified.missing_seconds == pytest.approx(3, abs=0.15)
    assert len(result.verified.warnings) == 1
    assert converter.listen() == about((0, 2), (5, 8))


@pytest.mark.parametrize("preset", FILMS)
def test_sound_fits_the_pictures_after_a_gap(
    converter: Converter, clip: Clip, tmp_path: Path, preset: str
) -> None:
    source = without_sound(clip(".mkv", audio=8, video=8), tmp_path / "gap.mkv", 2, 5)
    result = converter.convert(source, preset)
    assert result.status == 0, result.stderr
    assert converter.listen(preset) == about((0, 2), (5, 8))
    assert len(seen_pictures(converter.output(preset), converter.ffmpeg / "ffmpeg")) == 80


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov", ".flv", ".mpg"])
@pytest.mark.parametrize("preset", ["mp3", "opus", "mp4-720p"])
def test_sound_that_starts_late_starts_late_in_the_output(
    converter: Converter, clip: Clip, suffix: str, preset: str
) -> None:
    result = converter.convert(clip(suffix, audio=3, video=5, audio_begins=2), preset)
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    assert converter.listen(preset) == about((2, 5))


@pytest.mark.parametrize("preset", ["mp3", "mp4-720p"])
def test_sound_that_starts_after_what_ffmpeg_reads_first_is_whole(
    converter: Converter, clip: Clip, preset: str
) -> None:
    result = converter.convert(clip(".mkv", audio=4, video=16, audio_begins=12), preset)
    assert result.status == 0, result.stderr
    assert converter.listen(preset) == about((12, 16))


@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".ogg"])
@pytest.mark.parametrize("preset", ["mp3", "m4a", "mp4-720p"])
def test_joined_recordings_are_converted_to_their_whole_length(
    converter: Converter, clip: Clip, suffix: str, preset: str
) -> None:
    if (suffix, preset) == (".ogg", "mp4-720p"):
        pytest.skip("it has no pictures")
    if suffix == ".ogg" and "4.2" in str((converter.ffmpeg / "ffmpeg").resolve()):
        pytest.skip("ffmpeg 4.2 cannot decode Opus streams that are joined")
    parts = clip(suffix, audio=3, video=3), clip(suffix, audio=4, video=4)
    result = converter.convert(b"".join(part.read_bytes() for part in (*parts, *parts)), preset)
    assert result.status == 0, result.stderr
    assert result.seconds == pytest.approx(14, abs=0.5)
    assert converter.listen(preset) == [pytest.approx((0, 14), abs=0.5)]
    assert all("The clock of the source jumps" in text for text in result.verified.warnings)


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
@pytest.mark.parametrize("preset", ["wav", "m4a", "mp4-720p", "webm"])
def test_a_jump_of_the_clock_is_closed_with_a_warning(
    converter: Converter, clip: Clip, tmp_path: Path, suffix: str, preset: str
) -> None:
    source = with_jump(clip(suffix, audio=8, video=8), tmp_path / f"jump{suffix}", at=3, by=3600)
    result = converter.convert(source, preset)
    assert result.status == 0, result.stderr
    assert result.seconds == pytest.approx(8, abs=0.3)
    (warning,) = result.verified.warnings
    assert warning.startswith("The clock of the source jumps forward by 3600.")
    assert converter.length(preset) == pytest.approx(result.seconds, abs=0.1)


@pytest.mark.slow
def test_a_picture_that_is_shown_for_long_is_no_jump(converter: Converter, clip: Clip) -> None:
    if "4.2" in str((converter.ffmpeg / "ffmpeg").resolve()):
        pytest.skip("ffmpeg 4.2 buffers too few packets for so few pictures")
    film = clip(".mkv", audio=704, video=704, frames_per_second=1, lasting=(2, 700, 1))
    result = converter.convert(film, "mp4-720p")
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    assert result.seconds == pytest.approx(704, abs=1)


def test_a_jump_in_a_film_without_sound_is_closed(
    converter: Converter, clip: Clip, tmp_path: Path
) -> None:
    film = with_jump(clip(".mkv", audio=0, video=8), tmp_path / "jump.mkv", at=3, by=3600)
    result = converter.convert(film, "mp4-720p")
    assert result.status == 0, result.stderr
    assert result.seconds == pytest.approx(8, abs=0.3)
    assert len(result.verified.warnings) == 1


@pytest.mark.slow
def test_a_long_gap_while_the_film_continues_is_a_pause(
    converter: Converter, clip: Clip, tmp_path: Path
) -> None:
    film = clip(".mkv", audio=704, video=704, frames_per_second=1)
    result = converter.convert(without_sound(film, tmp_path / "gap.mkv", 2, 702))
    assert result.status == 0, result.stderr
    assert result.seconds == pytest.approx(704, abs=0.3)
    assert result.verified.missing_seconds == pytest.approx(700, abs=0.3)
    assert converter.listen() == about((0, 2), (702, 704))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".m4a"])
@pytest.mark.parametrize("preset", ["m4a", "mp3", "mp4-720p"])
def test_a_cut_source_with_chapters_fails(
    converter: Converter, clip: Clip, suffix: str, preset: str
) -> None:
    if (suffix, preset) == (".m4a", "mp4-720p"):
        pytest.skip("it has no pictures")
    index_first = (("movflags", "+faststart"),) if suffix != ".mkv" else ()
    source = clip(
        suffix, audio=10, video=10, chapters=("One", "Two", "Three", "Four"), muxer=index_first
    )
    data = source.read_bytes()
    result = converter.convert(data[: len(data) // 2], preset)
    assert result.status == EX_DATAERR
    assert result.last_line.endswith("the source is cut short")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mp3", ".flac", ".ts", ".avi", ".ogg"])
@pytest.mark.parametrize("preset", ["mp3", "m4a"])
def test_a_source_with_a_large_hole_fails(
    converter: Converter, clip: Clip, suffix: str, preset: str
) -> None:
    source = clip(suffix, audio=20, video=20)
    result = converter.convert(zeroed(source, 0.3, 0.8), preset)
    assert result.status == EX_DATAERR
    assert "the source is damaged: " in result.last_line


@pytest.mark.parametrize("suffix", [".mp4", ".mp3", ".flac", ".ts"])
def test_a_source_with_a_small_hole_is_converted_with_a_warning(
    converter: Converter, clip: Clip, suffix: str
) -> None:
    source = clip(suffix, audio=20, video=20)
    result = converter.convert(zeroed(source, 0.5, 0.56))
    assert result.status == 0, result.stderr
    heard = sum(end - begin for begin, end in converter.listen())
    assert result.verified.missing_seconds == pytest.approx(20 - heard, abs=0.5)
    assert result.verified.missing_seconds > 0.5
    assert len(result.verified.warnings) == 1
    assert converter.length() == pytest.approx(result.seconds, abs=0.1)


@pytest.mark.parametrize("preset", FILMS)
def test_a_film_with_damaged_pictures_fails_or_has_a_warning(
    converter: Converter, clip: Clip, preset: str
) -> None:
    source = clip(".mp4", audio=0, video=20, frames_per_second=25, size=(320, 240))
    small = converter.convert(zeroed(source, 0.5, 0.53), preset)
    assert small.status == 0, small.stderr
    assert "pictures cannot be decoded completely" in " ".join(small.verified.warnings)
    large = converter.convert(zeroed(source, 0.2, 0.8), preset)
    assert large.status == EX_DATAERR


def test_pauses_in_the_transmission_of_opus_are_not_a_loss(
    converter: Converter, clip: Clip, tmp_path: Path
) -> None:
    source = clip(".webm", audio=8, video=0)
    source = with_transmission_pauses(source, tmp_path / "dtx.webm", 2, 6)
    result = converter.convert(source)
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    assert result.verified.missing_seconds == pytest.approx(3.8, abs=0.2)
    assert converter.length() == pytest.approx(8, abs=0.15)


def test_a_name_of_a_tag_that_looks_like_a_length_proves_nothing(
    converter: Converter, clip: Clip
) -> None:
    tags = (("comment", "x\n  Duration: 00:02:00.00, start: 0.0"),)
    data = clip(".mp3", audio=10, tags=tags).read_bytes()
    result = converter.convert(data[: len(data) // 2])
    assert result.status == EX_DATAERR
    assert result.last_line.endswith("the source is cut short")


def test_a_source_that_starts_before_zero_is_whole(converter: Converter, clip: Clip) -> None:
    source = starting_early(clip(".ogg", audio=6).read_bytes(), 43_680)
    result = converter.convert(source)
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    assert converter.length() == pytest.approx(6, abs=0.15)


def test_a_tiny_source_is_converted(converter: Converter, clip: Clip) -> None:
    result = converter.convert(clip(".mp3", audio=0.01))
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".mov", ".flv", ".mpg", ".webm"])
@pytest.mark.parametrize("preset", ["mp3", "flac", "mp4-720p"])
def test_a_whole_source_is_converted_without_a_warning(
    converter: Converter, clip: Clip, suffix: str, preset: str
) -> None:
    result = converter.convert(clip(suffix, audio=6, video=6), preset)
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    assert result.verified.missing_seconds == 0
    assert converter.length(preset) == pytest.approx(6, abs=0.15)


@pytest.mark.parametrize(
    "suffix", [".wav", ".w64", ".caf", ".flac", ".mp3", ".aac", ".m4a", ".ogg"]
)
def test_a_whole_recording_is_converted_without_a_warning(
    converter: Converter, clip: Clip, suffix: str
) -> None:
    result = converter.convert(clip(suffix, audio=6))
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    assert converter.length() == pytest.approx(6, abs=0.15)


def test_joined_recordings_with_other_channels_are_converted_whole_or_fail(
    converter: Converter, tmp_path: Path
) -> None:
    mono, stereo = Track(440, codec="libvorbis"), Track(440, codec="libvorbis", channels=2)
    parts = [source_with(tmp_path / f"{t.channels}.ogg", t) for t in (mono, stereo)]
    result = converter.convert(b"".join(part.read_bytes() for part in parts))
    if result.status == 0:
        assert converter.length() == pytest.approx(4, abs=0.15)
    else:
        assert (
            result.last_line == "runner: ffmpeg on this node cannot read the source beyond 2.00 s:"
            " its format changes there"
        )
