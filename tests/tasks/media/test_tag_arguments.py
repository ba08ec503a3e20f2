"""Tags that describe the source's container, or the program that wrote it, are left out."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from runner_node import Node

from tasks.media.presets import PRESETS

Clip = Callable[..., Path]
COUNTED = ("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES")
WRITTEN = ("_STATISTICS_WRITING_APP", "_STATISTICS_WRITING_DATE_UTC", "_STATISTICS_TAGS")
NAMES = [f"{name}{language}" for name in (*COUNTED, *WRITTEN) for language in ("", "-eng")]


def written(node: Node, preset: str) -> tuple[dict[str, str], dict[str, str]]:
    """Convert, and return the tags of the output and of its sound, with names in lower case."""
    result = node.convert(PRESETS[preset])
    assert result.status == 0, result.stderr
    with av.open(str(node.folder / f"output{PRESETS[preset].suffix}")) as made:
        both = made.metadata, made.streams.audio[0].metadata
        tags, sound = ({key.lower(): value for key, value in each.items()} for each in both)
        return tags, sound


@pytest.mark.parametrize("preset", ["m4a", "opus", "webm"])
def test_the_statistics_of_mkvmerge_are_left_out(
    node: Callable[..., Node], clip: Clip, preset: str
) -> None:
    statistics = [(name, "00:00:09.000000000") for name in NAMES]
    film = clip(".mkv", sound_tags=(*statistics, ("language", "deu"), ("title", "Ton")))
    tags, sound = written(node(film), preset)
    own = {"duration": sound.get("duration")} if preset == "webm" else {}  # ffmpeg writes this one
    found = {key: value for key, value in (tags | sound).items() if key.upper() in NAMES}
    assert found == own
    assert "00:00:09.000000000" not in found.values()
    assert sound.get("language", "deu") == "deu"


@pytest.fixture(scope="module")
def broadcast(tmp_path_factory: pytest.TempPathFactory, ffmpeg_folder: Path) -> Path:
    """A film in MXF, with all tags that FFmpeg writes into it."""
    path = tmp_path_factory.mktemp("mxf") / "a.mxf"
    inputs = ("-f", "lavfi", "-i", "testsrc=d=1:s=64x48:r=25", "-f", "lavfi", "-i", "sine=d=1")
    codecs = ("-c:v", "mpeg2video", "-c:a", "pcm_s16le", "-ar", "48000")
    command = [ffmpeg_folder / "ffmpeg", "-v", "error", "-nostdin", *inputs, *codecs, path]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("preset", ["mp3", "m4a", "opus", "flac", "webm"])
def test_the_identifiers_of_mxf_are_left_out(
    node: Callable[..., Node], broadcast: Path, preset: str
) -> None:
    with av.open(str(broadcast)) as source:
        theirs = {**source.metadata, **source.streams.audio[0].metadata}
    assert {"material_package_umid", "file_package_umid", "generation_uid"} < theirs.keys()
    tags, sound = written(node(broadcast), preset)
    assert theirs.keys() & (tags | sound).keys() <= {"timecode"}


@pytest.mark.parametrize("preset", ["opus", "webm"])
def test_the_vendor_of_a_quicktime_stream_is_left_out(
    node: Callable[..., Node], clip: Clip, preset: str
) -> None:
    assert "vendor_id" not in written(node(clip(".mov")), preset)[1]
