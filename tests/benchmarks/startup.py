"""Time of the command when there is nothing to convert: `python tests/benchmarks/startup.py`.

Each round also measures an empty flow, on the same Prefect server and on an ephemeral one.
"""

import argparse
import os
from functools import partial
from pathlib import Path

from rounds import interleaved, record, show
from surroundings import CONVERT, Surroundings, make_clip, make_clips, surroundings
from yardstick import EMPTY_FLOW, EPHEMERAL_FLOW, empty_flow_seconds

PATIENCE_SECONDS = 120  # for the first start of an ephemeral server: Prefect's 20 s are too short


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with surroundings() as around:
        like = make_clip(around.folder / "clip.mp4", seconds=1, size="64x48", rate="100k")
        library = make_clips(around.folder / "library", 5, like=like)
        alone = without_services(around)
        around.run(*CONVERT, library)
        alone.run(*CONVERT, library)
        empty_flow_seconds(alone)  # creates its database, as our first run has just done
        contenders = {
            "empty flow, server running": partial(empty_flow_seconds, around),
            "ours, both servers running": partial(seconds, around, *CONVERT, library),
            "empty flow, ephemeral server": partial(empty_flow_seconds, alone),
            "ours, no server running": partial(seconds, alone, *CONVERT, library),
        }
        measured = interleaved(contenders, rounds=rounds)
    show(measured, unit="seconds")
    for case, rival, yardstick in (
        ("both servers running", "empty flow, server running", EMPTY_FLOW),
        ("no server running", "empty flow, ephemeral server", EPHEMERAL_FLOW),
    ):
        record(
            "startup.py",
            part=case,
            what=f"nothing to convert, {case}",
            target=yardstick.target,
            measured=yardstick.measured(measured[f"ours, {case}"], measured[rival]),
            note="both measured in the same rounds",
        )


def seconds(around: Surroundings, *command: str | Path) -> float:
    return around.run(*command).seconds


def without_services(around: Surroundings) -> Surroundings:
    """Return the same surroundings without a stack, a Prefect server and an account."""
    kept = {
        name: value
        for name, value in around.environment.items()
        if not name.startswith(("AZURE_", "PREFECT_API"))
    }
    home = around.folder / "alone"
    (home / "prefect").mkdir(parents=True)
    environment = kept | {"XDG_DATA_HOME": str(home), "PREFECT_HOME": str(home / "prefect")}
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = str(PATIENCE_SECONDS)
    return Surroundings(around.folder, around.stack, environment)


if __name__ == "__main__":
    os.environ.pop("PREFECT_API_URL", None)
    main()
