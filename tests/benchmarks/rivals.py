"""The rivals: the floor, which only converts, and the sequence of the tutorial."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from surroundings import SLOTS, Surroundings, Used
from tasks.media.presets import PRESETS
from tasks.media.sync import with_times

MP3 = [with_times(argument) for argument in PRESETS["mp3"].arguments]
CONVERT_ONE = 'ffmpeg -nostdin -y -loglevel error -i "$1" $ARGUMENTS "$OUT/$(basename "$1").mp3"'


def floor(around: Surroundings, folder: Path) -> float:
    """Return the seconds of `xargs -P` over the same files, with the same ffmpeg and arguments."""
    out = around.folder / "floor"
    out.mkdir()
    files = b"\0".join(bytes(path) for path in sorted(folder.iterdir()))
    environment = around.environment | {
        "OUT": str(out),
        "ARGUMENTS": " ".join(MP3),
    }
    started = time.perf_counter()
    subprocess.run(
        ["xargs", "-0", "-P", str(SLOTS), "-n", "1", "sh", "-c", CONVERT_ONE, "sh"],
        input=files,
        env=environment,
        check=True,
    )
    seconds = time.perf_counter() - started
    assert len(list(out.iterdir())) == len(list(folder.iterdir()))
    shutil.rmtree(out)
    return seconds


def tutorial(around: Surroundings, folder: Path) -> Used:
    """Run the sequence of the tutorial as a separate command."""
    return around.run(sys.executable, Path(__file__).with_name("tutorial.py"), folder)
