"""The versions of presets: each change of what outputs contain raises the version."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from runner_node import Node

from tasks.media.presets import PRESETS, Preset
from tasks.media.streams import Media, Stream, source_arguments
from tasks.models import Extent

FORMATS = ("", "ogg", "mov,mp4,m4a,3gp,3g2,mj2")
KINDS = [
    Media(Stream(2), None, 2, format=name, cover=cover, has_24_bits=has_24_bits)
    for name, cover, has_24_bits in product(FORMATS, (None, 2), (False, True))
]
# By preset: its version, and a hash of the ffmpeg commands that make its outputs.
FINGERPRINTS = {
    "mp3": (2, "d9be33f6b12a4886"),
    "mp3-320k": (2, "737bd418a8bd1408"),
    "m4a": (2, "f51b05c07f29a147"),
    "opus": (2, "dc7714f4478eb2e2"),
    "flac": (2, "7c15e62706ac23fc"),
    "wav": (2, "927317519b00fd85"),
    "mp4-720p": (2, "9a088a7bc04819b9"),
    "webm": (2, "688bb5a0ffbea4ba"),
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
