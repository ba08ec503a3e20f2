"""What a file costs: `python tests/benchmarks/files.py [--files 10000] [--rounds 3]`.

Tiny files, and commands on the nodes that do nothing: what is left is our own CPU time, plan to
report, beside the tutorial's and that of `upload_blob` alone. What the command takes with nothing
to do is taken off; not so where the tutorial, start-up included, is beside it.
"""

import argparse
import statistics
from pathlib import Path

from rivals import tutorial
from rounds import interleaved, ratios, record, show, spread
from surroundings import Surroundings
from tiny import LIMITS, idle_surroundings, make_tiny
from yardstick import UPLOAD, upload_cpu_milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with idle_surroundings() as around:
        library = make_tiny(around.folder / "library", given.files)
        measure(around, library, files=given.files, rounds=given.rounds)


def measure(around: Surroundings, library: Path, *, files: int, rounds: int) -> None:
    contenders = {
        "upload_blob": lambda: upload_cpu_milliseconds(around, library),
        "tutorial": lambda: tutorial(around, library).cpu_seconds * 1000 / files,
        "ours": lambda: around.convert(library, *LIMITS).cpu_seconds * 1000 / files,
    }
    measured = interleaved(contenders, rounds=rounds)
    show(measured, unit="milliseconds of CPU a file, start-up included")
    start_up = start_up_seconds(around)
    ours = [value - start_up * 1000 / files for value in measured["ours"]]
    beside = ratios(measured["ours"], measured["tutorial"])
    record(
        "files.py",
        what=f"{files:,} tiny files: our CPU time a file, plan to report",
        reach=f"{UPLOAD.reach}; ≤ half of the tutorial's",
        measured=UPLOAD.measured(ours, measured["upload_blob"]),
        said=f"with the {start_up:.1f} s of CPU that nothing to do takes {spread(beside)} of the"
        f" tutorial's {statistics.median(measured['tutorial']):.1f} ms",
    )


def start_up_seconds(around: Surroundings) -> float:
    """CPU of a run with nothing to do."""
    one = make_tiny(around.folder / "one", 1)
    for _ in range(2):  # the first converts it
        used = around.convert(one, name="one")
    return used.cpu_seconds


if __name__ == "__main__":
    main()
