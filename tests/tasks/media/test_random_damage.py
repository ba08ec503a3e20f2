"""No file that was damaged at random is called converted without its loss."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import heard_seconds, loud_periods, seen_pictures, without_sound
from ffmpegs import EACH
from runner_node import Node

from tasks.media.presets import PRESETS
from tasks.media.probe import probe
from tasks.media.streams import UnreadableMedia

SECONDS = 20
PICTURES_PER_SECOND = 10
FILMS = (".mp4", ".mkv", ".mov", ".ts", ".avi")
SOUND = (".m4a", ".flac", ".mp3", ".ogg")
CASES = 15  # for each version of ffmpeg
Clip = Callable[..., Path]


def cut(data: bytearray, dice: random.Random) -> None:
    del data[int(len(data) * dice.uniform(0.1, 0.85)) :]


def overwrite_with_zeros(data: bytearray, dice: random.Random) -> None:
    first, last = part(data, dice)
    data[first:last] = bytes(last - first)


def overwrite_with_noise(data: bytearray, dice: random.Random) -> None:
    first, last = part(data, dice)
    data[first:last] = dice.randbytes(last - first)


def remove(data: bytearray, dice: random.Random) -> None:
    first, last = part(data, dice)
    del data[first:last]


def part(data: bytearray, dice: random.Random) -> tuple[int, int]:
    first = int(len(data) * dice.uniform(0.15, 0.6))
    return first, min(len(data), first + int(len(data) * dice.uniform(0.02, 0.6)))


DAMAGE = (cut, overwrite_with_zeros, overwrite_with_noise, remove)


def make(dice: random.Random, clip: Clip, folder: Path) -> tuple[Path, str]:
    """Return a damaged file and what was done to it."""
    suffix = dice.choice((*FILMS, *SOUND))
    source = clip(suffix, audio=SECONDS, video=SECONDS, frames_per_second=PICTURES_PER_SECOND)
    target = folder / f"damaged{suffix}"
    if suffix in (".mkv", ".mp4", ".m4a") and dice.random() < 0.2:
        begin = dice.uniform(2, 9)
        without_sound(source, target, begin, begin + dice.uniform(3, 9))
        return target, "packets"
    # The last bytes of these formats say how long they are: a cut or removed part cannot be seen.
    visible = DAMAGE[1:3] if suffix in (".ts", ".ogg") else DAMAGE
    damage, data = dice.choice(visible), bytearray(source.read_bytes())
    damage(data, dice)
    target.write_bytes(data)
    return target, damage.__name__


@pytest.fixture(params=EACH)
def ffmpeg(request: pytest.FixtureRequest, ffmpeg_of: Callable[[str], Path]) -> Path:
    return ffmpeg_of(request.param)


@pytest.mark.parametrize(
    "seed",
    [*range(CASES), *(pytest.param(n, marks=pytest.mark.slow) for n in range(CASES, 10 * CASES))],
)
def test_what_is_called_converted_says_what_is_missing(
    ffmpeg: Path, tools_folder: Path, clip: Clip, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311  a test that can be repeated
    source, damage = make(dice, clip, tmp_path)
    presets = ("mp3", "m4a", "opus", "flac", *(["mp4-720p"] if source.suffix in FILMS else []))
    preset = PRESETS[dice.choice(presets)]
    try:
        probe(str(source))
    except UnreadableMedia:
        return  # it is refused
    (tmp_path / "node").mkdir()
    source.rename(tmp_path / "node" / "input")
    result = Node(tmp_path / "node", f"{ffmpeg}:{tools_folder}").convert(preset)
    if result.status:
        assert damage != "packets", result.stderr  # only clean gaps
        return
    output, program = tmp_path / "node" / f"output{preset.suffix}", ffmpeg / "ffmpeg"
    heard = sum(end - begin for begin, end in loud_periods(output, program))
    found = result.verified
    assert found.missing_seconds == pytest.approx(SECONDS - heard, abs=1), (source.name, damage)
    assert found.warnings or heard > 0.9 * SECONDS, (source.name, damage)
    if preset.name == "mp4-720p":
        pictures = len(seen_pictures(output, program)) / PICTURES_PER_SECOND
        assert found.warnings or pictures > 0.9 * SECONDS, (source.name, damage)
    else:
        length = heard_seconds(output, program)
        assert found.seconds == pytest.approx(length, abs=0.25), (source.name, damage)
