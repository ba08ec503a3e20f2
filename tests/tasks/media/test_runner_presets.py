import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import pytest
from av.stream import Disposition
from contents import tones
from recipes import write_tones
from runner_node import Node

from tasks.media.presets import PRESETS, preset_for
from tasks.media.probe import probe
from tasks.media.source_arguments import source_arguments
from tasks.media.streams import (
    expected_seconds,
)

Clip = Callable[..., Path]


def is_picture(stream: av.stream.Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def decoded(path: Path) -> dict[str, tuple[str, float]]:
    """Decode each kind of stream to its end, and return its codec and seconds."""
    found = {}
    for kind in ("audio", "video"):
        with av.open(str(path)) as container:
            streams = [s for s in getattr(container.streams, kind) if not is_picture(s)]
            if not streams:
                continue
            ends = [
                frame.time + (frame.samples / frame.rate if kind == "audio" else 0)
                for frame in container.decode(streams[0])
            ]
            found[kind] = (streams[0].codec_context.name, max(ends))
    return found


CODECS = {
    "mp3": {"audio": "mp3"},
    "mp3-320k": {"audio": "mp3"},
    "m4a": {"audio": "aac"},
    "opus": {"audio": "opus"},
    "opus-speech": {"audio": "opus"},
    "flac": {"audio": "flac"},
    "wav": {"audio": "pcm_s16le"},
    "wav-16k": {"audio": "pcm_s16le"},
    "mp4-720p": {"audio": "aac", "video": "h264"},
    "webm": {"audio": "opus", "video": "vp9"},
}


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_makes_its_streams(node: Callable[..., Node], clip: Clip, name: str) -> None:
    preset = PRESETS[name]
    source = clip(".mkv", audio=2, video=3)
    result = node(source).convert(preset)
    assert result.status == 0, result.stderr
    made = decoded(result.folder / f"output{preset.suffix}")
    # PyAV returns the names of its decoders: libopus for opus, libvpx-vp9 for vp9.
    assert {kind: re.sub("^lib|float$", "", codec) for kind, (codec, _) in made.items()} == {
        **CODECS[name],
        **({"video": "vpx-vp9"} if "video" in made and made["video"][0] == "libvpx-vp9" else {}),
    }
    assert made["audio"][1] == pytest.approx(2, abs=0.1)
    assert "video" not in made or made["video"][1] == pytest.approx(2.9, abs=0.01)


@pytest.mark.parametrize(
    ("name", "samples_per_second"), [("wav-16k", 16_000), ("opus-speech", 48_000)]
)
def test_presets_for_speech_make_one_channel(
    node: Callable[..., Node], clip: Clip, name: str, samples_per_second: int
) -> None:
    result = node(clip(".flac", layout="stereo")).convert(PRESETS[name])
    with av.open(str(result.folder / f"output{PRESETS[name].suffix}")) as made:
        sound = made.streams.audio[0]
        assert (sound.layout.nb_channels, sound.rate) == (1, samples_per_second)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((160, 90), (160, 90)), ((1920, 1080), (1280, 720)), ((402, 750), (386, 720))],
)
def test_video_keeps_its_shape_and_is_never_enlarged(
    node: Callable[..., Node], clip: Clip, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    source = clip(".mp4", audio=0, video=1, size=size)
    result = node(source).convert(PRESETS["mp4-720p"])
    assert result.status == 0, result.stderr
    with av.open(str(result.folder / "output.mp4")) as made:
        video = made.streams.video[0]
        assert (video.width, video.height, video.pix_fmt) == (*expected, "yuv420p")
        assert not made.streams.audio


def test_the_surround_sound_of_films_is_converted_to_opus(
    node: Callable[..., Node], clip: Clip
) -> None:
    source = clip(".mp4", layout="5.1(side)")
    result = node(source).convert(PRESETS["opus"])
    assert result.status == 0, result.stderr
    with av.open(str(result.folder / "output.opus")) as made:
        assert made.streams.audio[0].layout.name == "5.1"


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("stereo", [400, 600]),
        ("5.1", [400, 600, 800, 1000, 1200, 1400]),
        ("5.0", [400, 600, 800, 0, 1000, 1200]),  # as 5.1
        ("6.1", [400, 600, 800, 1000, 1200, 1200, 1400, 1600]),  # as 7.1
    ],
)
def test_each_channel_of_opus_is_in_its_place(
    node: Callable[..., Node], tmp_path: Path, layout: str, expected: list[int]
) -> None:
    source = write_tones(tmp_path / "tones.wav", layout, len(set(expected) - {0}))
    result = node(source).convert(PRESETS["opus"])
    assert result.status == 0, result.stderr
    assert tones(result.folder / "output.opus", len(expected)) == expected


TAGS = {
    "title": "Day “1”",
    "artist": "Ann & Bob",
    "album": "Talks",
    "track": "3/12",
    "date": "2026-05-04",
    "comment": "A comment",
}
WITHOUT_CHAPTERS = {"flac", "wav"}
SOUND = ("mp3", "m4a", "flac", "opus", "wav")


def described(path: Path) -> tuple[dict[str, str], list[str], bytes]:
    """Return the tags with lower-case names, the titles of the chapters, and the cover."""
    with av.open(str(path)) as container:
        tags = {**container.metadata, **container.streams.audio[0].metadata}
        titles = [chapter["metadata"]["title"] for chapter in container.chapters()]
        pictures = filter(is_picture, container.streams.video)
        first = [bytes(packet) for packet in islice(container.demux(), len(list(pictures)))]
    return {key.lower(): value for key, value in tags.items()}, titles, b"".join(first)


@pytest.mark.parametrize(
    ("suffix", "name"),
    [(suffix, name) for suffix in ("mp3", "flac", "ogg") for name in SOUND]
    + [(suffix, name) for suffix in ("mp4", "mkv") for name in (*SOUND, "webm", "mp4-720p")],
)
def test_tags_chapters_and_cover_are_kept_if_the_format_can_hold_them(
    node: Callable[..., Node], clip: Clip, suffix: str, name: str
) -> None:
    chapters = () if suffix == "flac" else ("One", "Two", "Three", "Four")
    cover_codec = "" if suffix == "ogg" else "png"
    source = clip(f".{suffix}", cover=cover_codec, tags=tuple(TAGS.items()), chapters=chapters)
    preset = PRESETS[name]
    output = f"output{preset.suffix}"
    result = node(source).convert(preset)
    assert result.status == 0, result.stderr
    tags, titles, cover = described(result.folder / output)
    assert {key: tags.get(key) for key in TAGS} == TAGS
    assert titles == ([] if name in WITHOUT_CHAPTERS else list(chapters))
    assert cover == (described(source)[2] if preset.holds_cover else b"")
    assert bool(cover) is (preset.holds_cover and suffix != "ogg")
    assert "major_brand" not in tags or name in ("m4a", "mp4-720p")
    assert decoded(result.folder / output)["audio"][1] == pytest.approx(2, abs=0.1)


def test_a_video_stream_is_never_copied_as_a_cover(node: Callable[..., Node], clip: Clip) -> None:
    source = clip(".mp4")
    media = replace(probe(str(source)), cover=0)
    arguments = source_arguments(media, PRESETS["mp3"])
    result = node(source).run(*PRESETS["mp3"].arguments, *arguments)
    assert result.status == 0, result.stderr
    with av.open(str(result.folder / "output.mp3")) as made:
        assert [stream.type for stream in made.streams] == ["audio"]


@pytest.mark.parametrize(
    ("suffix", "sample_format", "expected"),
    [(".m4a", "", "s16"), (".flac", "s16", "s16"), (".flac", "s32", "s32")],
)
def test_flac_has_as_many_bits_as_the_source(
    node: Callable[..., Node], clip: Clip, suffix: str, sample_format: str, expected: str
) -> None:
    result = node(clip(suffix, sample_format=sample_format)).convert(PRESETS["flac"])
    assert result.status == 0, result.stderr
    with av.open(str(result.folder / "output.flac")) as made:
        assert made.streams.audio[0].codec_context.format.name == expected


def test_a_users_options_reach_ffmpeg(node: Callable[..., Node], clip: Clip) -> None:
    options = ["-b:a", "256k", "-ar", "44100", "-ac", "2", "-af", "loudnorm=I=-16,highpass=80"]
    result = node(clip(".mp4")).convert(preset_for("mp3", options))
    assert result.status == 0, result.stderr
    with av.open(str(result.folder / "output.mp3")) as made:
        audio = made.streams.audio[0]
        assert (audio.rate, audio.layout.name) == (44100, "stereo")
        assert audio.bit_rate == 256_000


def test_ffmpeg_has_every_allowed_filter(node: Callable[..., Node], clip: Clip) -> None:
    sound = "acompressor,aresample,bass,dynaudnorm,equalizer=1000,highpass,loudnorm,lowpass,treble"
    picture = "bwdif,crop,eq,fps,hflip,hqdn3d,pad,scale,setsar,transpose,unsharp,vflip,yadif"
    preset = preset_for("mp4-720p", ["-af", f"{sound},volume=1", "-vf", picture])
    result = node(clip(".mp4")).convert(preset)
    assert result.status == 0, result.stderr


@pytest.mark.parametrize(("name", "rate"), [("mp3", 192_000), ("mp3-320k", 320_000)])
def test_the_arguments_of_the_preset_reach_ffmpeg(
    node: Callable[..., Node], clip: Clip, name: str, rate: int
) -> None:
    result = node(clip(".wav")).convert(PRESETS[name])
    with av.open(str(result.folder / "output.mp3")) as made:
        assert made.streams.audio[0].bit_rate == rate


@pytest.mark.parametrize("name", ["bigbuckbunny.mp4", "LowPriVMs-4.mp4"])
def test_the_real_clips_are_converted(
    node: Callable[..., Node], real_clips: dict[str, Path], name: str
) -> None:
    seconds = expected_seconds(probe(str(real_clips[name])), PRESETS["mp3"])
    result = node(real_clips[name]).convert()
    assert result.status == 0, result.stderr
    assert decoded(result.folder / "output.mp3")["audio"][1] == pytest.approx(seconds, abs=0.1)
