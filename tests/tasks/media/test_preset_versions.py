"""The versions of presets: each change of what outputs contain raises the version."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from runner_node import Node

from tasks.media.pictures import PictureFormat
from tasks.media.preferred import preferred_arguments
from tasks.media.presets import PRESETS, Choices, Preset, with_choices
from tasks.media.source_arguments import source_arguments
from tasks.media.streams import Media, Sound, Stream
from tasks.models import Extent

FORMATS = ("", "ogg", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mxf")
KINDS = [
    Media((Sound(2, has_24_bits=has_24_bits),), None, 2, format=name, cover=cover)
    for name, cover, has_24_bits in product(FORMATS, (None, 2), (False, True))
]
KINDS += [
    Media((Sound(2),), None, 2, has_stream_tags=True, has_chapters=True),
    Media((Sound(2, channels=9),), None, 2),
    Media((Sound(2, track=1), Sound(2)), None, 2, tracks=2, subtitles=(0,)),
    Media((Sound(2),), None, 2, opus_tags=";FFMETADATA1"),
]
COPIES = [
    Media((Sound(2, codec=codec, channels=1, samples_per_second=16_000),), None, 2, format=name)
    for codec in ("mp3", "aac", "flac", "opus", "pcm_s16le")
    for name in (*FORMATS, "mp3", "flac", "wav")
]
FILMS = [
    Media((), Stream(2), 2, pictures=pictures)
    for pictures in (
        PictureFormat(),
        PictureFormat(may_be_interlaced=True),
        PictureFormat(transfer=16),
        PictureFormat(transfer=18),
        PictureFormat(has_rate=False),
    )
]
# By preset: its version, and a hash of the ffmpeg commands that make its outputs.
FINGERPRINTS = {
    "mp3": (2, "cbf69bea9b7654dc"),
    "mp3-320k": (2, "8e4c441e0126861c"),
    "m4a": (2, "20178ce4c9677e7f"),
    "opus": (2, "f7935170c84afd18"),
    "opus-speech": (1, "bc27a77d050250c1"),
    "flac": (2, "68ae126530e31f52"),
    "wav": (2, "1de5e2be1dcd745a"),
    "wav-16k": (1, "6cbb681e82d5759b"),
    "mp4-720p": (2, "5562daa4eee79d98"),
    "webm": (2, "76db3a542b4e95ab"),
}


def ffmpeg_commands(node: Node, preset: Preset, arguments: tuple[str, ...]) -> Iterator[str]:
    """Yield the commands with which the runner converts, without quotes: shells differ in them."""
    traced = Node(node.folder, node.path, ("/bin/sh", "-x"))
    result = traced.run(
        *preset.arguments,
        *arguments,
        output=f"output{preset.suffix}",
        sound=Extent(0, 2),
        picture=Extent(0, 2) if "video" in preset.streams else None,
    )
    assert result.status == 0, result.stderr
    for line in result.stderr.splitlines():
        if "ffmpeg " in line and "file:input" in line and f"file:output{preset.suffix}" in line:
            yield line.lstrip("+ ").translate({ord(quote): None for quote in "'\"\\"})


def fingerprint(node: Node, preset: Preset) -> str:
    """Return a hash that changes with everything that determines what outputs contain."""
    variants = [source_arguments(media, preset) for media in KINDS]
    variants += [preferred_arguments(media, preset) for media in COPIES]
    if preset.holds_tracks:
        all_tracks = with_choices(preset, Choices(tracks="all"))
        variants += [source_arguments(media, all_tracks) for media in KINDS]
    if "video" in preset.streams:
        variants += [source_arguments(media, preset) for media in FILMS]
        variants += [preferred_arguments(media, preset) for media in FILMS]
    commands = list(ffmpeg_commands(node, preset, variants[0]))
    assert commands, "the runner no longer traces a command from file:input to file:output"
    return hashlib.sha256(repr((commands, variants)).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", PRESETS)
def test_a_change_of_what_outputs_contain_raises_the_version_of_the_preset(
    node: Callable[..., Node], clip: Callable[..., Path], name: str
) -> None:
    preset = PRESETS[name]
    found = preset.version, fingerprint(node(clip(".mp4")), preset)
    assert found == FINGERPRINTS.get(name), (
        f"The commands for preset {name} have changed. If outputs are different now, raise its"
        " version in tasks/media/presets.py, so that runs skip earlier outputs and --force"
        f' converts them again. Then write "{name}": {found} into FINGERPRINTS.'
    )
