"""What overlaps: `python tests/benchmarks/overlap.py [--rounds 3]`.

200 light clips, nodes that boot in 20 s, and uploads capped at 20 MB/s. Boot, upload and compute go
on side by side: the longest of them, with the first file's way up and the last one's way down, is
the least that is possible. The tutorial adds them up.
"""

import argparse
import statistics
from functools import partial

from batch_requests import order
from rivals import floor, tutorial
from rounds import interleaved, ratios, record, show, spread
from storage_proxy import Bandwidth, running_proxy
from surroundings import make_clip, make_clips, surroundings

CLIPS, BOOT_SECONDS, BYTES_A_SECOND = 200, 20, 20_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    name = "AZURE_STORAGE_CONNECTION_STRING"
    with surroundings() as around, running_proxy(around.stack.settings[name]) as proxy:
        like = make_clip(around.folder / "clip.mp4", seconds=30, size="640x360", rate="1900k")
        folder = make_clips(around.folder / "library", CLIPS, like=like)
        order(around, {"kind": "boot", "seconds": BOOT_SECONDS})
        # Of uploads alone: outputs never go by the line of who runs the command.
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
    ends = (upload + statistics.median(measured["compute"])) / CLIPS
    longest = [max(BOOT_SECONDS, upload, compute) + ends for compute in measured["compute"]]
    beside = statistics.median(ratios(measured["tutorial"], longest))
    record(
        "overlap.py",
        what="200 light clips, slow boot, slow line: wall ÷ the longest of boot, upload, compute",
        reach="≤ 1.15",
        measured=spread(ratios(measured["ours"], longest)),
        said=f"the tutorial: {beside:.2f}; boot {BOOT_SECONDS} s, upload {upload:.0f} s,"
        f" compute {statistics.median(measured['compute']):.0f} s",
    )


if __name__ == "__main__":
    main()
