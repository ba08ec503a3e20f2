"""CPU time per file: `python tests/benchmarks/files.py [--files 10000] [--rounds 3]`.

Files are tiny and nodes do nothing, so the pipeline's own CPU time remains. It is compared with
`upload_blob` alone, without the start-up of the command, and with the tutorial, including start-up.
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
    show(measured, unit="milliseconds of CPU per file, including start-up")
    start_up = start_up_seconds(around)
    ours = [value - start_up * 1000 / files for value in measured["ours"]]
    beside = ratios(measured["ours"], measured["tutorial"])
    record(
        "files.py",
        what=f"{files:,} tiny files: our CPU time per file, from plan to report",
        target=f"{UPLOAD.target}; ≤ 0.45 of the tutorial's",
        measured=UPLOAD.measured(ours, measured["upload_blob"]),
        note=f"including {start_up:.1f} s of start-up: {spread(beside)} of the tutorial's"
        f" {statistics.median(measured['tutorial']):.1f} ms",
    )


def start_up_seconds(around: Surroundings) -> float:
    """Return the CPU time of a run that has nothing to convert."""
    one = make_tiny(around.folder / "one", 1)
    for _ in range(2):  # the first run converts the file
        used = around.convert(one, name="one")
    return used.cpu_seconds


if __name__ == "__main__":
    main()
