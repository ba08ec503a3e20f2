"""What a node makes of an excerpt is what it makes of the whole source."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from damage import with_jump, without_sound, zeroed
from ffmpegs import EACH
from records import a_conversion, a_source
from runner_node import Node, RunnerResult
from tracks import Track, source_with

from tasks.media import excerpts
from tasks.media.copying import most_bit_rate
from tasks.media.excerpts import with_excerpts
from tasks.media.fidelity import Unfit
from tasks.media.presets import PRESETS, Preset
from tasks.media.probe import probe
from tasks.media.remux import remux
from tasks.media.source_arguments import tag_text
from tasks.media.streams import Media
from tasks.models import Conversion
from tasks.plan import apply_probe
from tasks.uploads import as_sent
from tasks.naming import input_name

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SOUND_PRESETS = [name for name, preset in PRESETS.items() if preset.streams == ("audio",)]
Clip = Callable[..., Path]


@pytest.fixture(autouse=True)
def excerpts_of_tiny_films(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "LEAST_SAVED_BYTES", -(1 << 30))


@dataclass(frozen=True)
class Film:
    """A source, its conversion as it is planned, and a place for its excerpt."""

    source: Path
    media: Media
    preset: Preset
    conversion: Conversion
    excerpt: Path

    def write_excerpt(self) -> None:
        """Write the excerpt.

        Raises:
            Unfit: The whole source is sent.
        """
        if self.conversion.excerpt is None:
            raise Unfit("it has no rule")
        remux(str(self.source), str(self.excerpt), self.conversion.excerpt, self.conversion.sounds)


def a_film(source: Path, folder: Path, preset: Preset = PRESETS["wav"]) -> Film:
    media = probe(str(source))
    conversion = apply_probe(a_conversion(a_source(), preset=preset), media, preset)
    assert isinstance(conversion, Conversion)
    (planned,) = with_excerpts([conversion], {conversion.source: media}, {preset.name: preset})
    return Film(source, media, preset, planned, folder / "excerpt")


def converted(film: Film, conversion: Conversion, given: Path, node: Node) -> RunnerResult:
    """Convert a file as a node does."""
    node.folder.mkdir()
    shutil.copyfile(given, node.folder / "input")
    return node.run(
        *film.preset.arguments,
        *conversion.arguments,
        output=f"output{film.preset.suffix}",
        sound="\n".join(map(str, conversion.sounds)),
        PREFERRED_ARGUMENTS="\n".join(conversion.preferred_arguments),
        MOST_BIT_RATE=str(most_bit_rate(film.preset) or ""),
        TAGS=tag_text(film.media, film.preset),
    )


def contents(result: RunnerResult, preset: Preset) -> Any:
    """Return all of an output. In Ogg, a random number is in each page."""
    output = result.folder / f"output{preset.suffix}"
    if preset.suffix != ".opus":
        return output.read_bytes()
    words = ["-map", "0", "-c", "copy", "-f", "framemd5"], ["-f", "ffmetadata"]
    command = [FFMPEG, "-v", "error", "-i", str(output)]
    return [
        subprocess.run([*command, *each, "-"], check=True, capture_output=True).stdout
        for each in words
    ]


def assert_equal(film: Film, node: Node) -> None:
    """Check that both outputs are equal to the byte, and what was verified in them."""
    film.write_excerpt()
    excerpt = film.conversion.excerpt
    present = {input_name(film.conversion.content, str(excerpt))}
    folders = [Node(node.folder / name, node.path) for name in ("whole", "part")]
    whole = converted(film, film.conversion, film.source, folders[0])
    part = converted(film, as_sent(film.conversion, present), film.excerpt, folders[1])
    assert (whole.status, part.status) == (0, 0), part.stderr
    assert contents(part, film.preset) == contents(whole, film.preset)
    assert part.seconds == pytest.approx(whole.seconds, abs=0.1)  # as ffmpeg reports its progress
    assert re.sub(r"seconds-[\d.]+", "", marker(part)) == re.sub(
        r"seconds-[\d.]+", "", marker(whole)
    )


def marker(result: RunnerResult) -> str:
    (found,) = result.folder.glob("seconds-*")
    return found.name


@pytest.fixture
def any_folder(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    ffmpeg_of: Callable[[str], Path],
    tools_folder: Path,
) -> Node:
    return Node(tmp_path, f"{ffmpeg_of(request.param)}:{tools_folder}")


any_version = pytest.mark.parametrize("any_folder", EACH, indirect=True)
X264, MPEG2 = ("-c:v", "libx264", "-preset", "ultrafast"), ("-c:v", "mpeg2video")
CODECS = {
    ".mp4": (X264, ["aac", "ac3", "eac3", "libmp3lame", "alac"]),
    ".mov": (X264, ["aac", "pcm_s16le", "pcm_s24le", "pcm_s16be"]),
    ".mkv": (
        X264,
        [
            *("aac", "ac3", "eac3", "libmp3lame", "mp2", "flac", "alac"),
            *("libopus", "libvorbis", "pcm_s16le", "pcm_s24le", "dca"),
        ],
    ),
    ".ts": (X264, ["aac", "ac3", "eac3", "mp2", "libmp3lame"]),
    ".vob": (MPEG2, ["ac3", "mp2"]),
    ".mpg": (MPEG2, ["mp2", "libmp3lame"]),
    ".flv": (X264, ["aac", "libmp3lame"]),
}
LATE = (0.0, 0.04, 1.2345)  # seconds that the sound starts after the pictures; before them below 0
SAMPLE = {
    (".mp4", "aac"),
    (".mov", "pcm_s16le"),
    (".mkv", "libopus"),
    (".ts", "ac3"),
    (".flv", "aac"),
}
# FFmpeg 8 and later store in MKV what decoders skip, in milliseconds. Then the declared start of
# late sound is not that of its first sample.
INEXACT = {
    (".mkv", "aac"),
    (".mkv", "ac3"),
    (".mkv", "eac3"),
    (".mkv", "libmp3lame"),
    (".mkv", "mp2"),
}


def make(target: Path, codec: str, late_seconds: float) -> Path:
    pictures, _ = CODECS[target.suffix]
    film = [
        "-itsoffset",
        str(max(0, -late_seconds)),
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=64x48:r=25:d=3",
    ]
    tone = "sine=440:r=44100:d=3"
    sound = ["-itsoffset", str(max(0, late_seconds)), "-f", "lavfi", "-i", tone]
    words = [*film, *sound, *pictures, "-c:a", codec, "-ac", "2", "-strict", "-2", str(target)]
    subprocess.run([FFMPEG, "-v", "error", *words], check=True)
    return target


def families() -> list[Any]:
    return [
        pytest.param(
            suffix,
            codec,
            late,
            marks=[] if (suffix, codec) in SAMPLE and late != LATE[1] else [pytest.mark.slow],
            id=f"{suffix[1:]}-{codec}-{late}",
        )
        for suffix, (_, codecs) in CODECS.items()
        for codec in codecs
        for late in (*LATE, -0.7)
    ]


@pytest.mark.parametrize(("suffix", "codec", "late"), families())
@any_version
def test_the_samples_are_those_of_the_whole_film(
    any_folder: Node, tmp_path: Path, suffix: str, codec: str, late: float
) -> None:
    film = a_film(make(tmp_path / f"film{suffix}", codec, late), tmp_path)
    try:
        film.write_excerpt()
    except Unfit as unfit:
        assert late > 0, unfit
        assert (suffix, codec) in INEXACT, unfit
        return
    assert_equal(film, any_folder)
