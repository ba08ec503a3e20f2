"""What a file costs: `python tests/benchmarks/files.py [--files 10000] [--rounds 3]`.

Tiny files, and commands on the nodes that do nothing: what is left is our own CPU time, plan to
report, beside the tutorial's. What the command costs with nothing to do is taken off. Then the same
command again, with everything done.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from rivals import tutorial
from rounds import interleaved, ratios, record, show, spread
from surroundings import Surroundings, surroundings
from tiny import do_nothing, make_tiny

LIMITS = ("--limits.deadline-minutes", "240")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        do_nothing(Path(folder, "nothing"))
        with surroundings() as around:
            library = make_tiny(around.folder / "library", given.files)
            measure(around, library, files=given.files, rounds=given.rounds)


def measure(around: Surroundings, library: Path, *, files: int, rounds: int) -> None:
    around.convert(library, *LIMITS, name="done")
    rerun = {"rerun": lambda: rerun_seconds(around, library)}
    reruns = interleaved(rerun, rounds=rounds)["rerun"]
    idle = around.convert(library, name="done").cpu_seconds
    contenders = {
        "tutorial": lambda: tutorial(around, library).cpu_seconds * 1000 / files,
        "ours": lambda: around.convert(library, *LIMITS).cpu_seconds * 1000 / files,
    }
    measured = interleaved(contenders, rounds=rounds)
    show(measured, unit="milliseconds of CPU a file")
    start_up = start_up_seconds(around)
    ours = [value - start_up * 1000 / files for value in measured["ours"]]
    beside = statistics.median(ratios(measured["ours"], measured["tutorial"]))
    record(
        "files.py",
        part="cpu",
        what=f"{files:,} tiny files: our CPU time a file, plan to report",
        reach="≤ 4 ms, ≤ half of the tutorial's",
        measured=f"{spread(ours, 1)} ms",
        said=f"with the {start_up:.1f} s of CPU that start-up takes {beside:.2f} of the tutorial's"
        f" {statistics.median(measured['tutorial']):.1f} ms; a rerun that converts nothing takes"
        f" {idle:.1f} s of CPU in all",
    )
    record(
        "files.py",
        part="rerun",
        what=f"a rerun with {files:,} files done, after start-up",
        reach="≤ 4 s, 0 uploads",
        measured=f"{spread(reruns, 1)} s",
        said="stat of each file, remembered hashes, one listing of the outputs",
    )


def start_up_seconds(around: Surroundings) -> float:
    """CPU of a run with nothing to do."""
    one = make_tiny(around.folder / "one", 1)
    for _ in range(2):  # the first converts it
        used = around.convert(one, name="one")
    return used.cpu_seconds


def rerun_seconds(around: Surroundings, library: Path) -> float:
    report = around.folder / "report.json"
    around.convert(library, "--report", report, name="done")
    summary = json.loads(report.read_text())["summary"]
    assert summary["skipped"] == summary["files"]
    return float(summary["seconds"])


if __name__ == "__main__":
    main()
