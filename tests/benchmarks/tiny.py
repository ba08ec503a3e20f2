"""Tiny files and commands that do nothing, so that only the cost of the pipeline remains."""

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surroundings import Surroundings, surroundings

LIMITS = ("--limits.deadline-minutes", "240")  # enough for 100,000 files
SECONDS, RATE = 0.1, 8000
# The samples of a tiny file, as ffmpeg's muxer framecrc lists them; runner.sh shifts their times by
# a week.
DECODED = (
    "#software: Lavf60.0.100\n#tb 0: 1/8000\n0, -4838400000, -4838400000, 800, 1600, 0x00000000\n"
)
STAND_IN = f"""#!/bin/sh
# Replaces ffmpeg: writes one byte and reports that all is converted.
for word; do :; done
case $word in
    file:*) ;;
    *) printf x >"$word" ;;  # the tutorial's command
esac
for word; do
    case $word in
        file:output.*) printf x >"${{word#file:}}" ;;
        file:sound.*) printf {DECODED!r} >"${{word#file:}}" ;;
    esac
done
echo out_time_us=100000 >progress
"""


def make_tiny(folder: Path, count: int) -> Path:
    """Create WAV files of a tenth of a second, each with different content."""
    folder.mkdir(parents=True)
    frames = int(SECONDS * RATE)
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + frames, b"WAVE", b"fmt ", 16, 1, 1,
                         RATE, RATE, 1, 8, b"data", frames)  # fmt: skip
    for number in range(count):
        part = folder / f"{number // 1000:03}"
        part.mkdir(exist_ok=True)
        content = f"{number:08}".encode().ljust(frames, b"\x80")
        (part / f"{number:06}.wav").write_bytes(header + content)
    return folder


@contextmanager
def idle_surroundings() -> Iterator[Surroundings]:
    """Surroundings with a replacement for ffmpeg that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        do_nothing(Path(folder, "nothing"))
        with surroundings() as around:
            yield around


def do_nothing(folder: Path) -> None:
    """Put a replacement for ffmpeg at the start of PATH."""
    folder.mkdir()
    (folder / "ffmpeg").write_text(STAND_IN)
    (folder / "ffmpeg").chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
