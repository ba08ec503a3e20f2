"""All presets in one run, and each output decoded.

CI converts a generated film. The run with a real film is marked slow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition
from tagged import encoded

from tasks.media.presets import PRESETS

TAGS = {"title": "Day “1”", "artist": "Ann", "album": "Talks", "track": "3", "date": "2026"}
OPUS_RATE = 48_000


@dataclass(frozen=True)
class Sound:
    codec: str
    rate: int
    channels: int


@dataclass(frozen=True)
class Decoded:
    """What the decoders find in a whole file."""

    sound: Sound
    seconds: float
    picture: tuple[str, int, int] | None
    picture_seconds: float
    tags: dict[str, str]


@pytest.fixture(params=["generated", pytest.param("real", marks=pytest.mark.slow)])
def film(request: pytest.FixtureRequest, clip: Callable[..., Path]) -> Path:
    if request.param == "real":
        real: Path = request.getfixturevalue("real_clips")["bigbuckbunny.mp4"]
        return real
    return clip(".mp4", layout="stereo", tags=tuple(TAGS.items()), cover="png", video=3)


def decode(path: Path) -> Decoded:
    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        samples, ends = 0, [0.0]
        for frame in container.decode(audio, *films):
            if isinstance(frame, av.AudioFrame):
                samples += frame.samples
            else:
                ends.append(frame.time)
        context = audio.codec_context
        picture = films[0].codec_context if films else None
        return Decoded(
            sound=Sound(plain(context.name), context.sample_rate, context.layout.nb_channels),
            seconds=samples / context.sample_rate,
            picture=picture and (plain(picture.name), picture.width, picture.height),
            picture_seconds=max(ends),
            tags={k.lower(): v for k, v in {**container.metadata, **audio.metadata}.items()},
        )


def plain(codec: str) -> str:
    """Return the codec for a name from PyAV, which names the decoder."""
    return codec.removeprefix("lib").removeprefix("vpx-").removesuffix("float")


def expected_sounds(source: Sound) -> dict[str, Sound]:
    mp3 = Sound("mp3", source.rate, min(source.channels, 2))
    aac = Sound("aac", source.rate, source.channels)
    opus = Sound("opus", OPUS_RATE, source.channels)
    return {
        "mp3": mp3,
        "mp3-320k": mp3,
        "m4a": aac,
        "opus": opus,
        "opus-speech": Sound("opus", OPUS_RATE, 1),
        "flac": Sound("flac", source.rate, source.channels),
        "wav": Sound("pcm_s16le", source.rate, source.channels),
        "wav-16k": Sound("pcm_s16le", 16_000, 1),
        "mp4-720p": aac,
        "webm": opus,
    }


PICTURES = {"mp4-720p": "h264", "webm": "vp9"}


@pytest.mark.filterwarnings("ignore:Sending a large body")  # the SDK sends blocks as bytes
async def test_a_decoder_confirms_the_output_of_each_preset(
    convert: Callable[..., Any], film: Path, tmp_path: Path
) -> None:
    folder = str(tmp_path / "out")
    report = await convert(film, output={"presets": list(PRESETS), "download_to": folder})
    assert [(file.preset, file.state) for file in report.files] == [
        (name, "converted") for name in PRESETS
    ]
    source = decode(film)
    sounds = expected_sounds(source.sound)
    for file in report.files:
        made = decode(tmp_path / "out" / file.output)
        assert made.sound == sounds[file.preset]
        assert made.seconds == pytest.approx(source.seconds, abs=0.1)
        assert {key: made.tags.get(key) for key in TAGS if key in source.tags} == {
            key: value for key, value in source.tags.items() if key in TAGS
        }
        if file.preset in PICTURES:
            assert source.picture
            assert made.picture == (PICTURES[file.preset], *source.picture[1:])
            assert made.picture_seconds == pytest.approx(source.picture_seconds, abs=0.1)
        else:
            assert made.picture is None


async def test_tags_that_are_not_utf8_arrive_as_utf8_with_a_warning_about_the_guess(
    convert: Callable[..., Any], clip: Callable[..., Path], tmp_path: Path
) -> None:
    song = clip(".wav", tags=(("title", encoded("长相思", "gbk")),))
    folder = str(tmp_path / "out")
    report = await convert(song, output={"presets": ["mp3", "opus"], "download_to": folder})
    for file in report.files:
        assert file.warnings == (
            "The tags of the source are not UTF-8. They were read as GBK, which is a guess.",
        )
        assert decode(tmp_path / "out" / file.output).tags["title"] == "长相思"
