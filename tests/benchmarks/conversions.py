"""Real conversions, compared with the floor and the tutorial.

`python tests/benchmarks/conversions.py talks` or `… clips`, `[--rounds 5] [--like FILE]`. With the
tutorial's own clip as `--like`, the talks are those of the tutorial.
"""

import argparse
import statistics
from functools import partial
from pathlib import Path

from rivals import floor, tutorial
from rounds import interleaved, ratios, record, show, show_users, spread
from surroundings import Surroundings, make_clip, make_clips, surroundings

KINDS = {
    "talks": ("40 two-minute talks", 40, {"seconds": 120, "size": "640x360", "rate": "150k"}, 1.08),
    "clips": ("100 light clips", 100, {"seconds": 30, "size": "640x360", "rate": "1900k"}, 1.25),
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
    title += f" ({given.like.name})" if given.like else ""
    ours, tutorials = (ratios(measured[name], measured["floor"]) for name in ("ours", "tutorial"))
    floor_seconds = statistics.median(measured["floor"])
    record(
        f"conversions.py {given.kind}",
        part=given.like.name if given.like else "",
        what=f"{title}: time ÷ floor",
        target=f"≤ {target:.2f}, and not above the tutorial",
        measured=spread(ours),
        note=f"tutorial: {spread(tutorials)}; floor: {floor_seconds:.1f} s",
    )
    if not given.like:
        show_users(
            f"{title}: time ÷ the time of ffmpeg alone",
            ours=f"{statistics.median(ours):.2f}",
            tutorial=f"{statistics.median(tutorials):.2f}",
        )


def make_library(around: Surroundings, kind: str, *, like: Path | None) -> Path:
    """Create the clips of a kind: copies of the given clip, or of a generated one."""
    _, count, shape, _ = KINDS[kind]
    clip = like or make_clip(around.folder / "clip.mp4", **shape)
    return make_clips(around.folder / "library", count, like=clip)


if __name__ == "__main__":
    main()
