"""What a node makes of an excerpt is what it makes of the whole source."""

import itertools
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from av import FFmpegError
from damage import with_jump, without_sound
from records import a_conversion, a_source
from runner_node import Node, RunnerResult
from tracks import Track, source_with

from tasks.media import excerpts
from tasks.media.copying import most_bit_rate
from tasks.media.excerpts import with_excerpts
from tasks.media.fidelity import Unfit
from tasks.media.presets import PRESETS, Choices, Preset, preset_for, with_choices
from tasks.media.probe import probe
from tasks.media.remux import remux
from tasks.media.source_arguments import tag_text
from tasks.media.streams import Media, UnreadableMedia
from tasks.models import Conversion
from tasks.naming import input_name
from tasks.plan import apply_probe
from tasks.uploads import as_sent

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
    assert part.status == whole.status, part.stderr
    if whole.status:
        assert part.last_line == whole.last_line
        return
    assert contents(part, film.preset) == contents(whole, film.preset)
    assert part.seconds == pytest.approx(whole.seconds, abs=0.1)  # as ffmpeg reports its progress
    assert re.sub(r"seconds-[\d.]+", "", marker(part)) == re.sub(
        r"seconds-[\d.]+", "", marker(whole)
    )


def marker(result: RunnerResult) -> str:
    (found,) = result.folder.glob("seconds-*")
    return found.name


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
LATE = (0.0, 0.04, 1.2345, -0.7)  # seconds that the sound starts after the pictures
SAMPLE = {
    (".mp4", "aac", 0.0),
    (".mp4", "aac", 1.2345),
    (".mov", "pcm_s16le", -0.7),
    (".mkv", "libopus", 0.0),
    (".ts", "ac3", 1.2345),
    (".flv", "aac", 0.04),
}
# FFmpeg 8 and later write what decoders skip. In MKV it is in milliseconds, so the start that the
# film declares for late sound is not that of a sample.
INEXACT = ("aac", "libmp3lame")


def is_sent(suffix: str, codec: str, late_seconds: float) -> bool:
    """Return whether there is an excerpt."""
    if suffix == ".flv":  # it declares only the end of the whole film
        return late_seconds >= 0
    return not (suffix == ".mkv" and codec in INEXACT and late_seconds > 0)


def make(target: Path, codec: str, late_seconds: float) -> Path:
    pictures, _ = CODECS[target.suffix]
    lavfi = ["-f", "lavfi", "-i"]
    film = ["-itsoffset", str(max(0, -late_seconds)), *lavfi, "testsrc=s=64x48:r=25:d=3"]
    sound = ["-itsoffset", str(max(0, late_seconds)), *lavfi, "sine=440:r=44100:d=3"]
    words = [*film, *sound, *pictures, "-c:a", codec, "-ac", "2", "-strict", "-2", str(target)]
    subprocess.run([FFMPEG, "-v", "error", *words], check=True)
    return target


def families() -> list[Any]:
    return [
        pytest.param(
            suffix,
            codec,
            late,
            marks=[] if (suffix, codec, late) in SAMPLE else [pytest.mark.slow],
            id=f"{suffix[1:]}-{codec}-{late}",
        )
        for suffix, (_, codecs) in CODECS.items()
        for codec in codecs
        for late in LATE
    ]


@pytest.mark.parametrize(("suffix", "codec", "late"), families())
def test_the_samples_are_those_of_the_whole_film(
    any_node: Node, tmp_path: Path, suffix: str, codec: str, late: float
) -> None:
    film = a_film(make(tmp_path / f"film{suffix}", codec, late), tmp_path)
    if is_sent(suffix, codec, late):
        assert_equal(film, any_node)
    else:
        with pytest.raises(Unfit):
            film.write_excerpt()


def recipes() -> list[Any]:
    sample = {(".mkv", "mp3"), (".mov", "m4a")}
    return [
        pytest.param(*pair, marks=[] if pair in sample else [pytest.mark.slow])
        for pair in itertools.product((".mkv", ".mp4", ".mov", ".ts"), SOUND_PRESETS)
    ]


@pytest.mark.parametrize(("suffix", "name"), recipes())
def test_tags_chapters_cover_and_the_main_track_are_those_of_the_whole_film(
    any_node: Node, recipe_source: Callable[[str], Path], tmp_path: Path, suffix: str, name: str
) -> None:
    assert_equal(a_film(recipe_source(suffix), tmp_path, PRESETS[name]), any_node)


def test_all_tracks_are_those_of_the_whole_film(any_node: Node, tmp_path: Path) -> None:
    tracks = (Track(300, "eng"), Track(600, "deu", disposition="default"), Track(900, codec="ac3"))
    preset = with_choices(PRESETS["m4a"], Choices(tracks="all"))
    source = source_with(tmp_path / "film.mkv", *tracks)
    assert_equal(a_film(source, tmp_path, preset), any_node)


def test_a_preferred_language_is_that_of_the_whole_film(any_node: Node, tmp_path: Path) -> None:
    source = source_with(
        tmp_path / "film.mp4", Track(300, "eng", disposition="default"), Track(600, "deu")
    )
    preset = with_choices(PRESETS["m4a"], Choices(languages=("deu",)))
    assert_equal(a_film(source, tmp_path, preset), any_node)


def test_sound_that_fits_the_preset_is_copied_as_from_the_whole_film(
    any_node: Node, tmp_path: Path
) -> None:
    film = a_film(make(tmp_path / "film.mp4", "aac", 0), tmp_path, PRESETS["m4a"])
    assert_equal(film, any_node)
    assert "_copied" in next((tmp_path / "part").glob("seconds-*")).name


@pytest.mark.parametrize(
    ("suffix", "late_seconds"), [(".mkv", 0), (".ts", 0), (".mp4", 0.5), (".flv", 0.5)]
)
def test_sound_that_the_user_copies_is_sent_whole_if_its_times_would_change(
    tmp_path: Path, suffix: str, late_seconds: float
) -> None:
    source = make(tmp_path / f"film{suffix}", "aac", late_seconds)
    assert is_fit(source, tmp_path, PRESETS["wav"]) is is_sent(suffix, "aac", late_seconds)
    assert not is_fit(source, tmp_path, preset_for("m4a", ("-c:a", "copy")))


def test_sound_that_the_user_copies_is_that_of_the_whole_film(
    any_node: Node, tmp_path: Path
) -> None:
    source = make(tmp_path / "film.mp4", "aac", 0)
    assert_equal(a_film(source, tmp_path, preset_for("m4a", ("-c:a", "copy"))), any_node)


def test_before_version_8_another_track_that_starts_earlier_delays_the_sound(
    tmp_path: Path,
) -> None:
    skipping = Track(300), Track(600, codec="libopus", disposition="default")
    assert not is_fit(source_with(tmp_path / "several.mkv", *skipping), tmp_path)
    alike = Track(300), Track(600, disposition="default")
    assert is_fit(source_with(tmp_path / "alike.mkv", *alike), tmp_path)


def test_a_film_that_starts_late_is_sent_whole_if_its_last_packet_is_short(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", "aac", 0)
    words = ["-i", str(whole), "-c", "copy", "-output_ts_offset", "1", str(tmp_path / "late.mp4")]
    subprocess.run([FFMPEG, "-v", "error", *words], check=True)
    assert is_fit(whole, tmp_path)
    assert not is_fit(tmp_path / "late.mp4", tmp_path)


def test_a_film_of_a_camera_keeps_all_its_tags(
    node: Callable[..., Node], clip: Clip, tmp_path: Path
) -> None:
    tags = (("com.apple.quicktime.make", "A"), ("com.apple.quicktime.location.ISO6709", "+1+2/"))
    muxer = (("movflags", "use_metadata_tags"),)
    film = a_film(clip(".mov", tags=tags, muxer=muxer), tmp_path, PRESETS["mp3"])
    assert_equal(film, node(film.source))
    assert b"ISO6709" in (tmp_path / "part" / "output.mp3").read_bytes()


def remuxed(mp4: Path, film: Path) -> Path:
    """Write an MP4 in another format, which takes over tags that describe an MP4 container."""
    words = ["-i", str(mp4), "-map", "0", "-c", "copy", str(film)]
    subprocess.run([FFMPEG, "-v", "error", *words], check=True)
    return film


@pytest.mark.parametrize("preset", ["mp3", "flac", "opus"])
def test_a_film_that_was_an_mp4_has_the_same_tags_as_the_whole_film(
    any_node: Node, tmp_path: Path, preset: str
) -> None:
    mp4 = make(tmp_path / "film.mp4", "aac", 0)
    film = a_film(remuxed(mp4, tmp_path / "film.mkv"), tmp_path, PRESETS[preset])
    film.write_excerpt()
    present = {input_name(film.conversion.content, str(film.conversion.excerpt))}
    sent = as_sent(film.conversion, present)
    whole = converted(film, film.conversion, film.source, Node(tmp_path / "w", any_node.path))
    part = converted(film, sent, film.excerpt, Node(tmp_path / "p", any_node.path))
    assert tags_of(part, film.preset) == tags_of(whole, film.preset) != []


def test_a_film_whose_tags_get_other_names_is_sent_whole(tmp_path: Path) -> None:
    mp4 = make(tmp_path / "film.mp4", "aac", 0)
    assert not is_fit(remuxed(mp4, tmp_path / "film.flv"), tmp_path)


def tags_of(result: RunnerResult, preset: Preset) -> list[str]:
    """Return the tags of an output, in the order of their names."""
    output = str(result.folder / f"output{preset.suffix}")
    command = [FFMPEG, "-v", "error", "-i", output, "-f", "ffmetadata", "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sorted(text.splitlines())


@pytest.mark.parametrize("cut_at", [0.3, pytest.param(1.1, marks=pytest.mark.slow)])
def test_a_film_that_was_cut_without_encoding_it_has_the_same_samples(
    any_node: Node, tmp_path: Path, cut_at: float
) -> None:
    whole = make(tmp_path / "whole.mp4", "aac", 0)
    words = ["-ss", str(cut_at), "-i", str(whole), "-c", "copy", str(tmp_path / "film.mp4")]
    subprocess.run([FFMPEG, "-v", "error", *words], check=True)
    assert_equal(a_film(tmp_path / "film.mp4", tmp_path), any_node)


@pytest.mark.parametrize(
    ("byte", "bit"),
    [pytest.param(2, 0x10, id="sample rate"), pytest.param(6, 1, id="number of blocks")],
)
def test_a_broadcast_is_sent_whole_if_a_header_that_the_excerpt_lacks_is_damaged(
    tmp_path: Path, byte: int, bit: int
) -> None:
    broadcast = make(tmp_path / "film.ts", "aac", 0)
    data = bytearray(broadcast.read_bytes())
    data[data.index(b"\xff\xf1\x50\x80", len(data) // 2) + byte] ^= bit
    damaged = tmp_path / "damaged.ts"
    damaged.write_bytes(data)
    assert is_fit(broadcast, tmp_path)
    assert not is_fit(damaged, tmp_path)


def is_fit(source: Path, folder: Path, preset: Preset = PRESETS["wav"]) -> bool:
    try:
        a_film(source, folder, preset).write_excerpt()
    except Unfit:
        return False
    return True


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_film_with_a_gap_or_a_jump_is_sent_whole(clip: Clip, tmp_path: Path, suffix: str) -> None:
    film, damaged = clip(suffix, audio=6, video=6), tmp_path / f"film{suffix}"
    assert is_fit(film, tmp_path)
    assert not is_fit(without_sound(film, damaged, 2, 3), tmp_path)
    assert not is_fit(with_jump(film, damaged, at=3, by=3600), tmp_path)


DAMAGED = (".mp4", ".mkv", ".mov", ".ts", ".flv", ".vob")


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(n, marks=pytest.mark.slow) for n in range(6, 120))]
)
def test_a_damaged_film_is_sent_whole_unless_it_makes_no_difference(
    any_node: Node, clip: Clip, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311  a test that can be repeated
    source = clip(DAMAGED[seed % len(DAMAGED)], audio=10, video=10, size=(320, 240))
    data = bytearray(source.read_bytes())
    first = int(len(data) * dice.uniform(0.1, 0.9))
    last = first + int(len(data) * dice.choice([0.001, 0.01, 0.2]))
    data[first:last] = dice.choice([bytes(last - first), dice.randbytes(last - first), b""])
    damaged = tmp_path / f"damaged{source.suffix}"
    damaged.write_bytes(data)
    try:
        film = a_film(damaged, tmp_path)
        film.write_excerpt()
    except (UnreadableMedia, Unfit, FFmpegError):
        return
    assert_equal(film, any_node)
