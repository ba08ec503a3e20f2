"""The rivals: the floor, which does nothing but convert, and the tutorial's own sequence."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from surroundings import SLOTS, Surroundings, Used
from tasks.media.presets import PRESETS

CONVERT_ONE = 'ffmpeg -nostdin -y -loglevel error -i "$1" $ARGUMENTS "$OUT/$(basename "$1").mp3"'


def floor(around: Surroundings, folder: Path) -> float:
    """Seconds of `xargs -P` over the same files: same binary, same arguments, nothing beside."""
    out = around.folder / "floor"
    out.mkdir()
    files = b"\0".join(bytes(path) for path in sorted(folder.iterdir()))
    environment = around.environment | {
        "OUT": str(out),
        "ARGUMENTS": " ".join(PRESETS["mp3"].arguments),
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
    """The tutorial's sequence, as a command of its own."""
    return around.run(sys.executable, Path(__file__).with_name("tutorial.py"), folder)
