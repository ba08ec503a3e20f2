"""CPU time by process: `python tests/benchmarks/shares.py talks` or `… clips`.

If no core were ever idle, the ratio of CPU times would also be the ratio of run times.
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
PROCESSES = {
    "azurite": "Azurite",
    "prefect_server_process": "Prefect server",
    "local_azure": "node",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--like", type=Path, help="use this clip instead of a generated one")
    given = parser.parse_args()
    title, count, *_ = KINDS[given.kind]
    with surroundings() as around:
        folder = make_library(around, given.kind, like=given.like)
        around.convert(folder)  # the first run compiles modules and opens connections
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
        what=f"{title}: CPU time ÷ floor",
        target="none",
        measured=f"{seconds.total() / floor_seconds:.2f}",
        note=f"milliseconds per file: {shares}; floor: {floor_seconds * 1000 / count:.0f}",
    )


def services_seconds() -> Counter[str]:
    """Return the CPU time of all child processes by role. A node's commands count as children."""
    seconds: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        words = " ".join(process.cmdline())
        name = next((name for mark, name in PROCESSES.items() if mark in words), "others")
        used = process.cpu_times()
        seconds[name] += used.user + used.system
        seconds[NODE] += used.children_user + used.children_system
    return seconds


def children_seconds() -> float:
    """Return the CPU time of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(seconds: Counter[str], floor_seconds: float, count: int) -> None:
    table = Table("", "CPU per file, ms", "÷ floor")
    for name, value in seconds.most_common():
        table.add_row(name, f"{value * 1000 / count:.0f}", f"{value / floor_seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
