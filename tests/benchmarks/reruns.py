"""A second run with nothing to convert: `python tests/benchmarks/reruns.py [--files 10000]`.

It runs the same command again over tiny files. The time is measured after start-up, and compared
with an empty flow.
"""

import argparse
import json
from pathlib import Path

from rounds import interleaved, record, show
from surroundings import Surroundings
from tiny import LIMITS, idle_surroundings, make_tiny
from yardstick import RERUN, empty_flow_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with idle_surroundings() as around:
        library = make_tiny(around.folder / "library", given.files)
        around.convert(library, *LIMITS, name="done")
        contenders = {
            "empty flow": lambda: empty_flow_seconds(around),
            "rerun": lambda: rerun_seconds(around, library),
        }
        measured = interleaved(contenders, rounds=given.rounds)
    show(measured, unit="seconds")
    record(
        "reruns.py",
        what=f"a second run over {given.files:,} converted files, after start-up",
        target=f"{RERUN.target}; 0 uploads",
        measured=RERUN.measured(measured["rerun"], measured["empty flow"]),
        note="stat of each file, cached hashes, one listing of the outputs",
    )


def rerun_seconds(around: Surroundings, library: Path) -> float:
    report = around.folder / "report.json"
    around.convert(library, "--report", report, name="done")
    summary = json.loads(report.read_text())["summary"]
    assert summary["skipped"] == summary["files"]
    return float(summary["seconds"])


if __name__ == "__main__":
    main()
