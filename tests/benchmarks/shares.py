"""Where the CPU time goes, by process: `python tests/benchmarks/shares.py talks` or `… clips`.

With no moment lost, a run would take as many times the floor's wall as it takes of its CPU time.
"""

import argparse
import resource
from collections import Counter
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from conversions import KINDS, make_library
from rivals import floor
from rounds import record
from surroundings import surroundings

NODE = "ffmpeg and its shell"
PROCESSES = {"azurite": "Azurite", "prefect_api": "Prefect's server", "local_azure": "node"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--like", type=Path, help="the clip to take; else one is made")
    given = parser.parse_args()
    title, count, *_ = KINDS[given.kind]
    with surroundings() as around:
        folder = make_library(around, given.kind, like=given.like)
        around.convert(folder)  # the first run compiles and connects
        before = services_seconds()
        ours = around.convert(folder).cpu_seconds
        seconds = services_seconds()
        seconds.subtract(before)
        seconds["our command"] = ours
        begun = children_seconds()
        floor(around, folder)
        floor_seconds = children_seconds() - begun
    show(seconds, floor_seconds, count)
    shares = ", ".join(f"{name} {n * 1000 / count:.0f}" for name, n in seconds.most_common())
    record(
        f"shares.py {given.kind}",
        what=f"{title}: CPU time ÷ the floor's",
        reach="a bound",
        measured=f"{seconds.total() / floor_seconds:.2f}",
        said=f"milliseconds a file: {shares}; the floor: {floor_seconds * 1000 / count:.0f}",
    )


def services_seconds() -> Counter[str]:
    """CPU time of all that runs for us, by what it is; what a node ran is its parent's by now."""
    seconds: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        words = " ".join(process.cmdline())
        name = next((name for mark, name in PROCESSES.items() if mark in words), "others")
        used = process.cpu_times()
        seconds[name] += used.user + used.system
        seconds[NODE] += used.children_user + used.children_system
    return seconds


def children_seconds() -> float:
    """CPU time of the children that this process has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(seconds: Counter[str], floor_seconds: float, count: int) -> None:
    table = Table("", "CPU a file, ms", "÷ the floor's")
    for name, value in seconds.most_common():
        table.add_row(name, f"{value * 1000 / count:.0f}", f"{value / floor_seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
