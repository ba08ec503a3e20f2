"""Real conversions, compared with the floor and the tutorial.

`python tests/benchmarks/conversions.py talks` or `… clips`, `[--rounds 5] [--like FILE]`.
"""

import argparse
import statistics
from functools import partial
from pathlib import Path

from rivals import floor, tutorial
from rounds import interleaved, ratios, record, show, spread
from surroundings import Surroundings, make_clip, make_clips, surroundings

KINDS = {
    "talks": ("40 two-minute talks", 40, {"seconds": 120, "size": "640x360", "rate": "150k"}, 1.15),
    "clips": ("100 light clips", 100, {"seconds": 30, "size": "640x360", "rate": "1900k"}, 1.50),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--like", type=Path, help="use this clip instead of a generated one")
    given = parser.parse_args()
    title, _, _, target = KINDS[given.kind]
    with surroundings() as around:
        folder = make_library(around, given.kind, like=given.like)
        contenders = {
            "floor": partial(floor, around, folder),
            "tutorial": lambda: tutorial(around, folder).seconds,
            "ours": lambda: around.convert(folder).seconds,
        }
        measured = interleaved(contenders, rounds=given.rounds)
    show(measured, unit="seconds")
    beside = statistics.median(ratios(measured["tutorial"], measured["floor"]))
    record(
        f"conversions.py {given.kind}",
        what=f"{title}: time ÷ floor",
        target=f"≤ {target:.2f}",
        measured=spread(ratios(measured["ours"], measured["floor"])),
        note=f"tutorial: {beside:.2f}; floor: {statistics.median(measured['floor']):.1f} s",
    )


def make_library(around: Surroundings, kind: str, *, like: Path | None) -> Path:
    """Create the clips of a kind: copies of the given clip, or of a generated one."""
    _, count, shape, _ = KINDS[kind]
    clip = like or make_clip(around.folder / "clip.mp4", **shape)
    return make_clips(around.folder / "library", count, like=clip)


if __name__ == "__main__":
    main()
