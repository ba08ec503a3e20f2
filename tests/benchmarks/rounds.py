"""Contenders measured side by side: rounds interleaved, medians and spreads, the README's table."""

import json
import os
import platform
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
RESULTS = Path(__file__).with_name("results.json")
README = ROOT / "README.md"
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"

Measure = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row of the README's table."""

    what: str
    reach: str
    measured: str
    said: str  # an honest sentence: the rival's figure, or what bounds ours
    command: str
    machine: str


def interleaved(contenders: Mapping[str, Measure], *, rounds: int) -> dict[str, list[float]]:
    """What each contender measures in each round; noise of the machine strikes all alike."""
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, measure in contenders.items():
            measured[name].append(measure())
            print(f"round {number}: {name} {measured[name][-1]:.2f}", flush=True)
    return measured


def ratios(values: Sequence[float], rival: Sequence[float]) -> list[float]:
    return [mine / theirs for mine, theirs in zip(values, rival, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, with the least and the greatest."""
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def show(measured: Mapping[str, Sequence[float]], *, unit: str) -> None:
    table = Table("", f"median (least to greatest), {unit}")
    for name, values in measured.items():
        table.add_row(name, spread(values))
    Console().print(table)


def record(name: str, *, part: str = "", **fields: str) -> None:
    """Keep a benchmark's result, or a part of it, and write the README's table anew."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    result = Result(machine=machine(), command=f"python tests/benchmarks/{name}", **fields)
    results[f"{name} {part}".strip()] = asdict(result)
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=2) + "\n")
    README.write_text(with_table(README.read_text(), [Result(**r) for r in results.values()]))
    print(f"{result.what}: {result.measured}; to reach: {result.reach}. {result.said}")


def machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()},"
        f" Python {platform.python_version()}"
    )


def with_table(text: str, results: Sequence[Result]) -> str:
    """The text with the results between its two marks."""
    lines = ["| what | reach | measured | | command |", "|---|---|---|---|---|"]
    for r in results:
        cells = (r.what, r.reach, r.measured, r.said, f"`{r.command}`")
        lines.append(f"| {' | '.join(cells)} |")
    machines = sorted({r.machine for r in results})
    table = "\n".join([BEGIN, *lines, "", f"On {'; '.join(machines)}.", END])
    return re.sub(f"{BEGIN}.*{END}", lambda _: table, text, flags=re.DOTALL)
