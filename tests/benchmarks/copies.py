"""CPU of conversions that copy the sound: `python tests/benchmarks/copies.py [--rounds 5]`.

The rival is ffmpeg alone, which encodes the sound again with the codec and bit rate of the preset.
"""

import argparse
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from runner_node import Node

from local_azure.ffmpeg import node_path
from rounds import interleaved, ratios, record, show, spread
from surroundings import make_clip
from tasks.media.presets import PRESETS

SECONDS = 600
ENCODERS = {"mp3": "libmp3lame", "m4a": "aac"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        film = make_clip(Path(folder, "film.mp4"), seconds=SECONDS, size="320x180", rate="150k")
        song = Path(folder, "song.mp3")
        path = node_path(Path(folder, "links"))
        encode(film, song, ("-c:a", "libmp3lame", "-b:a", "128k"), path=path)
        for preset, source in (("mp3", song), ("m4a", film)):
            node = Path(folder, preset)
            node.mkdir()
            shutil.copyfile(source, node / "input")
            compare(preset, Node(node, path), rounds=rounds)


def encode(source: Path, target: Path, codec: Sequence[str], *, path: str) -> None:
    ffmpeg = shutil.which("ffmpeg", path=path) or "ffmpeg"
    command = [ffmpeg, "-loglevel", "error", "-y", "-i", source, "-map", "0:a:0", *codec, target]
    subprocess.run(command, check=True)


def compare(preset: str, node: Node, *, rounds: int) -> None:
    codec, suffix = ("-c:a", ENCODERS[preset], "-b:a", "192k"), PRESETS[preset].suffix
    encoder = partial(
        encode, node.folder / "input", node.folder / f"again{suffix}", codec, path=node.path
    )
    measured = interleaved(
        {
            "ours": partial(cpu_seconds, partial(copy, node, preset)),
            "ffmpeg": partial(cpu_seconds, encoder),
        },
        rounds=rounds,
    )
    show(measured, unit="seconds of CPU")
    record(
        "copies.py",
        part=preset,
        what=f"ten minutes of {ENCODERS[preset]} to {preset}, copied and verified: CPU ÷ encoding",
        target="≤ 0.25",
        measured=spread(ratios(measured["ours"], measured["ffmpeg"])),
        note=f"ffmpeg alone encodes in {spread(measured['ffmpeg'], 1)} s of CPU",
    )


def copy(node: Node, preset: str) -> None:
    for marker in node.folder.glob("seconds-*"):
        marker.unlink()
    result = node.convert(PRESETS[preset])
    assert result.verified.is_copied, result.stderr


def cpu_seconds(work: Callable[[], None]) -> float:
    """Return the CPU time of the processes that `work` starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
