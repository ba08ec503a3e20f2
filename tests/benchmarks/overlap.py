"""Overlap of boot, upload and compute: `python tests/benchmarks/overlap.py [--rounds 3]`.

200 light clips of 7.5 MB, nodes that boot in 40 s, and a line of 10 MB/s. Uploads of whole files
would take 150 s. If only the sound is uploaded, it arrives while the nodes boot, so a run takes
little more than boot and compute. The tutorial does one after the other.
"""

import argparse
import statistics
from functools import partial

from batch_requests import order
from rivals import floor, tutorial
from rounds import interleaved, ratios, record, show, show_users, spread
from storage_proxy import Bandwidth, running_proxy
from surroundings import make_clip, make_clips, surroundings

CLIPS, BOOT_SECONDS, BYTES_A_SECOND = 200, 40, 10_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    name = "AZURE_STORAGE_CONNECTION_STRING"
    with surroundings() as around, running_proxy(around.stack.settings[name]) as proxy:
        like = make_clip(around.folder / "clip.mp4", seconds=30, size="640x360", rate="1900k")
        folder = make_clips(around.folder / "library", CLIPS, like=like)
        order(around, {"kind": "boot", "seconds": BOOT_SECONDS})
        # Only uploads: nodes store outputs over their own network.
        proxy.order(Bandwidth(bytes_per_second=BYTES_A_SECOND, method="PUT", blob="input-*"))
        around.environment[name] = proxy.connection_string
        contenders = {
            "compute": partial(floor, around, folder),
            "tutorial": lambda: tutorial(around, folder).seconds,
            "ours": lambda: around.convert(folder).seconds,
        }
        measured = interleaved(contenders, rounds=rounds)
        upload = sum(path.stat().st_size for path in folder.iterdir()) / BYTES_A_SECOND
    show(measured, unit="seconds")
    least = [BOOT_SECONDS + compute for compute in measured["compute"]]
    ours, tutorials = (ratios(measured[name], least) for name in ("ours", "tutorial"))
    record(
        "overlap.py",
        what=f"{CLIPS} light clips, boot {BOOT_SECONDS} s, line 10 MB/s: time ÷ (boot + compute)",
        target="≤ 1.15",
        measured=spread(ours),
        note=f"tutorial: {spread(tutorials)}; compute {statistics.median(measured['compute']):.0f}"
        f" s; whole files would take {upload:.0f} s to upload",
    )
    show_users(
        f"{CLIPS} clips of 7.5 MB over a line of 10 MB/s, to nodes that boot in {BOOT_SECONDS} s",
        ours=f"{statistics.median(measured['ours']):.0f} s",
        tutorial=f"{statistics.median(measured['tutorial']):.0f} s",
    )


if __name__ == "__main__":
    main()
