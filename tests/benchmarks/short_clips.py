"""Short files on Azure: `python tests/benchmarks/short_clips.py [--clips 1000] [--rounds 3]`.

Batch starts each task 3.5 s after a slot is free, and each clip takes 0.7 s of one core. The four
nodes have two cores each: a wrapper around ffmpeg waits for one of them, converts a tiny file, and
keeps the core for 0.7 s. So eight cores work, although this machine may have fewer.
"""

import argparse
import os
import shlex
import shutil
import statistics
import tempfile
from functools import partial
from pathlib import Path

from batch_requests import order, remove_faults
from local_azure.ffmpeg import node_path
from rounds import interleaved, ratios, record, show, show_users, spread
from surroundings import Surroundings, surroundings
from tiny import LIMITS, make_tiny

NODES, CORES = 4, 2  # the cores of the default VM size
DELAY_SECONDS, WORK_SECONDS = 3.5, 0.7
POOL = ("--pool.spot-nodes", str(NODES))
WRAPPER = f"""#!/bin/sh
# Runs ffmpeg. A conversion also keeps a core of its node for {WORK_SECONDS} s.
take() {{ exec 9>"$AZ_BATCH_NODE_ROOT_DIR/core-$1" && flock $2 9; }}
case " $* " in
    *" -progress "*) take 0 -n || take 1 -n || take $(($$ % {CORES})) && sleep {WORK_SECONDS} ;;
esac
exec FFMPEG "$@" 9>&-
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrap_ffmpeg(Path(folder))
        with surroundings("--nodes", str(NODES)) as around:
            library = make_tiny(around.folder / "library", given.clips)
            measure(around, library, clips=given.clips, rounds=given.rounds)


def wrap_ffmpeg(folder: Path) -> None:
    """Put the wrapper at the start of PATH."""
    ffmpeg = shutil.which("ffmpeg", path=node_path(folder / "links"))
    program = folder / "ffmpeg"
    program.write_text(WRAPPER.replace("FFMPEG", shlex.quote(str(ffmpeg))))
    program.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def measure(around: Surroundings, library: Path, *, clips: int, rounds: int) -> None:
    seconds = partial(convert_seconds, around, library)
    contenders = {
        "without delay": partial(seconds, delay_seconds=0),
        "ours": partial(seconds, delay_seconds=DELAY_SECONDS),
    }
    measured = interleaved(contenders, rounds=rounds)
    show(measured, unit="seconds")
    free, ours = statistics.median(measured["without delay"]), measured["ours"]
    # Once: it takes five times as long.
    beside = seconds("--pool.slots-per-node", str(CORES))
    what = f"{clips:,} clips of {WORK_SECONDS} s on {NODES} nodes, {DELAY_SECONDS} s until Batch"
    record(
        "short_clips.py",
        what=f"{what} starts each: time ÷ the same without delay",
        target="≤ 1.50",
        measured=spread(ratios(ours, measured["without delay"])),
        note=f"with a slot per core, as in the tutorial: {beside / free:.2f}; without delay:"
        f" {free:.0f} s",
    )
    show_users(
        f"{what} starts each",
        ours=f"{statistics.median(ours):.0f} s",
        tutorial=f"{beside:.0f} s (this project with the slots of the tutorial)",
    )


def convert_seconds(
    around: Surroundings,
    library: Path,
    *flags: str,
    delay_seconds: float = DELAY_SECONDS,
) -> float:
    remove_faults(around)
    if delay_seconds:
        order(around, {"kind": "schedule", "seconds": delay_seconds})
    return around.convert(library, *LIMITS, *POOL, *flags).seconds


if __name__ == "__main__":
    main()
