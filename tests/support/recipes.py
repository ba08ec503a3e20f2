"""Recipes for sources of the matrix test: twelve formats with all that each of them can hold.

In every source, the tone of the main sound track begins half a second after the track.
"""

import base64
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import pytest

SILENT_SECONDS = 0.5  # before the tone
SECONDS = 2.0  # of each sound track, with the silence
MAIN_HERTZ, OTHER_HERTZ = 1200, 300
TAGS = {"title": "Qéèü 长相思", "artist": "Björk & Bob"}
CHAPTERS = ((0.0, "One"), (1.2, "Zwei ü"))
# A PNG of one pixel.
COVER = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
SUBTITLE = ("deu", "Grüß Gott")  # language and text


@dataclass(frozen=True)
class Track:
    """A sound track of a source. One of several tracks has the default flag."""

    channels: int = 2
    rate: int = 48_000  # samples per second
    hertz: int = MAIN_HERTZ
    language: str = ""
    title: str = ""
    is_default: bool = True


@dataclass(frozen=True)
class Recipe:
    """A source, and what its format holds.

    Attributes:
        arguments: ffmpeg's arguments for the codecs and the format.
        late_seconds: How much later than the pictures the sound starts.
        cover: How the format holds the cover: as a "stream", as an "attachment", or not at all.
    """

    arguments: tuple[str, ...]
    tracks: tuple[Track, ...] = (Track(),)
    has_pictures: bool = False
    late_seconds: float = 0.0
    has_tags: bool = True
    has_chapters: bool = False
    has_subtitles: bool = False
    cover: str = ""

    @property
    def main(self) -> Track:
        return next(track for track in self.tracks if track.is_default)

    @property
    def others(self) -> tuple[Track, ...]:
        return tuple(track for track in self.tracks if not track.is_default)


_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
_COMMENTARY = Track(hertz=OTHER_HERTZ, language="eng", title="Comments", is_default=False)
# By suffix.
RECIPES: Mapping[str, Recipe] = {
    ".mp3": Recipe(
        ("-c:a", "libmp3lame", "-b:a", "128k"),
        (Track(rate=44_100),),
        has_chapters=True,
        cover="stream",
    ),
    ".m4a": Recipe(
        ("-c:a", "aac", "-b:a", "96k"),
        (Track(channels=1, language="deu"),),
        has_chapters=True,
        cover="stream",
    ),
    ".flac": Recipe(("-c:a", "flac"), (Track(rate=96_000),), cover="stream"),
    ".wav": Recipe(("-c:a", "pcm_s16le"), (Track(channels=1, rate=22_050),)),
    ".ogg": Recipe(("-c:a", "libvorbis"), (Track(rate=44_100),)),
    ".opus": Recipe(
        ("-c:a", "libopus", "-b:a", "64k"), (Track(channels=1, language="nld"),), has_chapters=True
    ),
    ".mkv": Recipe(
        (*_H264, "-c:a", "aac", "-c:s", "srt"),
        (_COMMENTARY, Track(channels=6, language="jpn", title="Film ü")),
        has_pictures=True,
        has_chapters=True,
        has_subtitles=True,
        cover="attachment",
    ),
    ".mp4": Recipe(
        (*_H264, "-c:a", "aac"),
        (Track(language="fra"),),
        has_pictures=True,
        late_seconds=1.0,
        has_chapters=True,
    ),
    ".mov": Recipe(
        (*_H264, "-c:a", "pcm_s16le"),
        (Track(language="ita"),),
        has_pictures=True,
        has_chapters=True,
    ),
    ".ts": Recipe(
        ("-c:v", "mpeg2video", "-c:a", "mp2"),
        (Track(language="spa"),),
        has_pictures=True,
        has_tags=False,
    ),
    ".avi": Recipe(
        ("-c:v", "mpeg4", "-c:a", "libmp3lame"), (Track(rate=44_100),), has_pictures=True
    ),
    ".wma": Recipe(("-f", "asf", "-c:a", "wmav2"), (Track(rate=44_100),)),
}


@pytest.fixture(scope="session")
def recipe_source(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that makes the source of a recipe, and caches it."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "cover.png").write_bytes(COVER)
    (folder / "subtitles.srt").write_text(f"1\n00:00:00,500 --> 00:00:01,500\n{SUBTITLE[1]}\n")
    (folder / "description").write_text(_description(tags=TAGS, chapters=CHAPTERS))
    (folder / "tags").write_text(_description(tags=TAGS, chapters=()))

    @cache
    def make(suffix: str) -> Path:
        words = _command(RECIPES[suffix], f"source{suffix}")
        subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=60)
        return folder / f"source{suffix}"

    return make


def write_tones(path: Path, layout: str, channels: int) -> Path:
    """Write a second of sound with another tone in each channel: 400 Hz, 600 Hz, ..."""
    tones = "|".join(f"0.3*sin(2*PI*{400 + 200 * number}*t)" for number in range(channels))
    source = f"aevalsrc='{tones}':c={layout}:s=48000:d=1"
    program = imageio_ffmpeg.get_ffmpeg_exe()
    words = [program, "-v", "error", "-f", "lavfi", "-i", source, str(path)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    return path


def _description(tags: Mapping[str, str], chapters: tuple[tuple[float, str], ...]) -> str:
    """Return FFmpeg's text format for tags and chapters."""
    lines = [";FFMETADATA1", *(f"{name}={value}" for name, value in tags.items())]
    ends = [*(start for start, _ in chapters[1:]), SECONDS]
    for (start, title), end in zip(chapters, ends, strict=False):
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start * 1000:.0f}"]
        lines += [f"END={end * 1000:.0f}", f"title={title}"]
    return "\n".join(lines) + "\n"


def _command(recipe: Recipe, output: str) -> list[str]:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    inputs = list(_inputs(recipe))
    maps = [word for number in range(1, len(inputs)) for word in ("-map", str(number))]
    described = ["-map_metadata", "0" if recipe.has_tags else "-1"]
    described += ["-map_chapters", "0" if recipe.has_chapters else "-1"]
    words = [word for each in inputs for word in each]
    marks = [word for each in _marks(recipe) for word in each]
    return [program, "-v", "error", *words, *maps, *recipe.arguments, *described, *marks, output]


def _inputs(recipe: Recipe) -> Iterator[list[str]]:
    yield ["-i", "description" if recipe.has_chapters else "tags"]
    if recipe.has_pictures:
        yield ["-f", "lavfi", "-i", f"testsrc=s=64x48:r=10:d={SECONDS + recipe.late_seconds}"]
    for track in recipe.tracks:
        tone = f"0.3*sin(2*PI*{track.hertz}*t)*gte(t,{SILENT_SECONDS})"
        tones = "|".join([tone] * track.channels)
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[track.channels]
        source = f"aevalsrc='{tones}':c={layout}:s={track.rate}:d={SECONDS}"
        yield ["-itsoffset", str(recipe.late_seconds), "-f", "lavfi", "-i", source]
    if recipe.has_subtitles:
        yield ["-i", "subtitles.srt"]
    if recipe.cover == "stream":
        yield ["-i", "cover.png"]


def _marks(recipe: Recipe) -> Iterator[tuple[str, ...]]:
    """Yield the arguments for languages, titles, default flags and the cover."""
    for number, track in enumerate(recipe.tracks):
        yield (f"-metadata:s:a:{number}", f"language={track.language}")
        if track.title:
            yield (f"-metadata:s:a:{number}", f"title={track.title}")
        yield (f"-disposition:a:{number}", "default" if track.is_default else "0")
    if recipe.has_subtitles:
        yield ("-metadata:s:s:0", f"language={SUBTITLE[0]}")
    if recipe.cover == "stream":
        yield ("-c:v", "copy", "-disposition:v:0", "attached_pic")
    elif recipe.cover:
        yield ("-attach", "cover.png", "-metadata:s:t", "mimetype=image/png")
