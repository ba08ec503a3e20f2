"""Which sound an output has, and whether it is a copy, on each version of ffmpeg."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition
from damage import loud_periods, remux, without_sound
from ffmpegs import EACH
from runner_node import EX_DATAERR, Node, RunnerResult
from tracks import FFMPEG, Track, decoded, heard_hertz, source_with

from tasks.media.presets import PRESETS, Choices, with_choices

Clip = Callable[..., Path]
NONE, ALL = Choices(), Choices(tracks="all")
COMMENTARY = Track(300, "eng", "Commentary", "comment")
MAIN = Track(1200, "deu", "Main", "default")


@pytest.fixture(params=EACH)
def ffmpeg(request: pytest.FixtureRequest, ffmpeg_of: Callable[[str], Path]) -> Path:
    return ffmpeg_of(request.param)


@pytest.fixture
def converted(ffmpeg: Path, tmp_path: Path, tools_folder: Path) -> Callable[..., RunnerResult]:
    """Return a function that converts a source with one version of ffmpeg."""

    def convert(source: Path, preset: str, choices: Choices = NONE) -> RunnerResult:
        folder = tmp_path / f"node-{preset}"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(source, folder / "input")
        node = Node(folder, f"{ffmpeg}:{tools_folder}")
        result = node.convert(with_choices(PRESETS[preset], choices))
        assert result.status == 0, result.stderr
        return result

    return convert


Converted = Callable[..., RunnerResult]


def output(result: RunnerResult) -> Path:
    (found,) = result.folder.glob("output.*")
    return found


@pytest.mark.parametrize("preset", ["mp3", "mp4-720p"])
@pytest.mark.parametrize(("languages", "hertz"), [((), 1200), (("en",), 300), (("fra",), 1200)])
def test_an_output_has_the_main_track_or_that_of_the_language(
    converted: Converted, tmp_path: Path, preset: str, languages: tuple[str, ...], hertz: int
) -> None:
    source = source_with(tmp_path / "a.mkv", COMMENTARY, MAIN)
    result = converted(source, preset, Choices(languages))
    assert heard_hertz(output(result)) == pytest.approx(hertz, rel=0.02)
    with av.open(str(output(result))) as made:
        assert len(made.streams.audio) == 1


def test_a_first_track_of_an_unknown_codec_does_not_hide_a_good_second_one(
    converted: Converted, tmp_path: Path
) -> None:
    source = source_with(tmp_path / "a.mov", Track(300, codec="alac"), Track(880))
    unknown = source.read_bytes().replace(b"alac", b"zzzz")
    source.write_bytes(unknown)
    assert heard_hertz(output(converted(source, "mp3"))) == pytest.approx(880, rel=0.02)


def test_all_tracks_of_ogg_keep_their_languages_and_titles(
    converted: Converted, tmp_path: Path
) -> None:
    tracks = (replace(track, codec="libvorbis") for track in (MAIN, COMMENTARY))
    result = converted(source_with(tmp_path / "a.ogg", *tracks), "m4a", ALL)
    with av.open(str(output(result))) as made:
        assert [sound.language for sound in made.streams.audio] == ["deu", "eng"]
        titles = [str(sound.metadata) for sound in made.streams.audio]
    assert ["Main" in titles[0], "Commentary" in titles[1]] == [True, True]


SUBTITLES = "1\n00:00:00,500 --> 00:00:01,000\nHello\n"


@pytest.mark.parametrize("preset", ["m4a", "mp4-720p", "webm"])
def test_all_tracks_are_kept_with_languages_titles_and_flags(
    converted: Converted, tmp_path: Path, preset: str
) -> None:
    text = tmp_path / "a.srt"
    text.write_text(SUBTITLES)
    source = source_with(tmp_path / "a.mkv", COMMENTARY, MAIN, subtitles=(text,))
    result = converted(source, preset, ALL)
    made = output(result)
    assert [heard_hertz(made, track) for track in (0, 1)] == [
        pytest.approx(1200, rel=0.02),
        pytest.approx(300, rel=0.02),
    ]
    with av.open(str(made)) as container:
        sounds = container.streams.audio
        assert [sound.language for sound in sounds] == ["deu", "eng"]
        flags = [bool(sound.disposition & Disposition.default) for sound in sounds]
        assert flags == [True, False]
        assert ["Main" in str(sounds[0].metadata), "Commentary" in str(sounds[1].metadata)] == [
            True,
            True,
        ]
        assert len(container.streams.subtitles) == (preset != "m4a")
        for subtitles in container.streams.subtitles:
            assert subtitles.language == "eng"


def test_each_of_all_tracks_starts_in_time_and_is_verified(
    converted: Converted, tmp_path: Path
) -> None:
    late = Track(300, late_seconds=0.5)
    source = source_with(tmp_path / "a.mkv", MAIN, late, seconds=4)
    gap = without_sound(source, tmp_path / "gap.mkv", 1, 3)
    result = converted(gap, "m4a", ALL)
    assert result.verified.missing_seconds == pytest.approx(4, abs=0.1)
    assert [warning.partition(":")[0] for warning in result.verified.warnings] == [
        "Track 1",
        "Track 2",
    ]
    single = tmp_path / "second.m4a"
    with av.open(str(output(result))) as made, av.open(str(single), "w") as copy:
        second = copy.add_stream_from_template(made.streams.audio[1])
        for packet in made.demux(made.streams.audio[1]):
            packet.stream = second
            if packet.dts is not None:
                copy.mux(packet)
    assert loud_periods(single, Path(FFMPEG)) == [
        pytest.approx(period, abs=0.15) for period in ((0.5, 1), (3, 4.5))
    ]


COPIES = {
    "mp3": (".mp3", Track(440, codec="libmp3lame")),
    "m4a": (".mp4", Track(440)),
    "flac": (".flac", Track(440, codec="flac")),
    "wav": (".wav", Track(440, codec="pcm_s16le")),
    "opus": (".opus", Track(440, codec="libopus")),
}


@pytest.mark.parametrize("preset", COPIES)
def test_sound_in_the_format_of_the_preset_is_copied_and_decodes_to_the_same_samples(
    converted: Converted, tmp_path: Path, preset: str
) -> None:
    suffix, track = COPIES[preset]
    source = source_with(tmp_path / f"a{suffix}", track)
    result = converted(source, preset)
    assert result.verified.is_copied
    assert result.verified.seconds == pytest.approx(2, abs=0.05)
    assert decoded(output(result)) == decoded(source)


def test_sound_with_a_gap_is_encoded_again(
    converted: Converted, clip: Clip, tmp_path: Path
) -> None:
    source = without_sound(clip(".m4a", audio=8), tmp_path / "gap.m4a", 2, 5)
    result = converted(source, "m4a")
    assert not result.verified.is_copied
    assert result.verified.missing_seconds == pytest.approx(3, abs=0.1)
    assert loud_periods(output(result), Path(FFMPEG)) == [
        pytest.approx(period, abs=0.15) for period in ((0, 2), (5, 8))
    ]


def test_sound_with_more_bits_than_it_declares_is_encoded_again(
    converted: Converted, tmp_path: Path
) -> None:
    """An MP3 file of two bit rates, one after the other, declares that of its first frame."""
    low = source_with(tmp_path / "low.mp3", Track(440, codec="libmp3lame"))
    high = tmp_path / "high.mp3"
    with av.open(str(high), "w", options={"write_xing": "0"}) as made:
        loud = made.add_stream("libmp3lame", rate=48000, layout="mono")
        loud.bit_rate = 320_000
        with av.open(str(low)) as read:
            for _ in range(10):
                read.seek(0)
                for frame in read.decode(audio=0):
                    frame.pts = None
                    made.mux(loud.encode(frame))
        made.mux(loud.encode(None))
    joined = tmp_path / "joined.mp3"
    plain = tmp_path / "plain.mp3"
    with av.open(str(low)) as read, av.open(str(plain), "w", options={"write_xing": "0"}) as copy:
        stream = copy.add_stream_from_template(read.streams.audio[0])
        for packet in read.demux(audio=0):
            packet.stream = stream
            if packet.dts is not None:
                copy.mux(packet)
    joined.write_bytes(plain.read_bytes() + high.read_bytes())
    assert not converted(joined, "mp3").verified.is_copied


def test_a_track_that_is_cut_short_fails_also_if_another_one_has_a_long_pause(
    ffmpeg: Path, tmp_path: Path, tools_folder: Path
) -> None:
    tracks = (replace(track, codec="ac3") for track in (COMMENTARY, MAIN))  # fast to encode
    whole = source_with(tmp_path / "a.mka", *tracks, seconds=650)

    def keep(packet: Any) -> bool:
        at = float(packet.pts * packet.time_base)
        return at < 300 if packet.stream.index else not 2 < at < 645

    remux(whole, tmp_path / "cut.mka", keep).rename(tmp_path / "input")
    node = Node(tmp_path, f"{ffmpeg}:{tools_folder}")
    arguments = (*PRESETS["mp3"].arguments, "-map", "-0:a", "-map", "0:a:1")
    result = node.run(*arguments, sound="0 650 - 1")
    assert result.status == EX_DATAERR
    assert "the source is cut short" in result.last_line
