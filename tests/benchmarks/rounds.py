"""Interleaved rounds of several contenders, and the tables in docs/performance.md and README.md."""

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
PAGE, FRONT_PAGE = ROOT / "docs" / "performance.md", ROOT / "README.md"
FRONT_ROWS = Path(__file__).with_name("front_page.json")
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"

Measure = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row of the table."""

    what: str
    target: str
    measured: str
    note: str  # the rivals' numbers, or what limits ours
    command: str
    machine: str


def interleaved(contenders: Mapping[str, Measure], *, rounds: int) -> dict[str, list[float]]:
    """Measure each contender once per round, so that noise of the machine affects all equally."""
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, measure in contenders.items():
            measured[name].append(measure())
            print(f"round {number}: {name} {measured[name][-1]:.2f}", flush=True)
    return measured


def ratios(values: Sequence[float], rival: Sequence[float]) -> list[float]:
    return [mine / theirs for mine, theirs in zip(values, rival, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median with the lowest and the highest value."""
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def show(measured: Mapping[str, Sequence[float]], *, unit: str) -> None:
    table = Table("", f"median (lowest to highest), {unit}")
    for name, values in measured.items():
        table.add_row(name, spread(values))
    Console().print(table)


def record(name: str, *, part: str = "", **fields: str) -> None:
    """Save the result of a benchmark, or a part of it, and update the table."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    result = Result(machine=machine(), command=f"python tests/benchmarks/{name}", **fields)
    results[f"{name} {part}".strip()] = asdict(result)
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=2) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), [Result(**r) for r in results.values()]))
    print(f"{result.what}: {result.measured}; target: {result.target}. {result.note}")


def show_users(what: str, *, ours: str, tutorial: str) -> None:
    """Save a row of the README's table, which compares a run with the tutorial, and update it."""
    rows = json.loads(FRONT_ROWS.read_text()) if FRONT_ROWS.exists() else {}
    rows[what] = {"ours": ours, "tutorial": tutorial}
    FRONT_ROWS.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    lines = ["| what | this project | the tutorial |", "|---|---|---|"]
    lines += [f"| {name} | {row['ours']} | {row['tutorial']} |" for name, row in rows.items()]
    FRONT_PAGE.write_text(between_marks(FRONT_PAGE.read_text(), lines))


def machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()},"
        f" Python {platform.python_version()}"
    )


def with_table(text: str, results: Sequence[Result]) -> str:
    """Return the text with the table of all results."""
    lines = ["| what | target | measured | note | command |", "|---|---|---|---|---|"]
    for r in results:
        cells = (r.what, r.target, r.measured, r.note, f"`{r.command}`")
        lines.append(f"| {' | '.join(cells)} |")
    machines = sorted({r.machine for r in results})
    return between_marks(text, [*lines, "", f"Machine: {'; '.join(machines)}."])


def between_marks(text: str, lines: Sequence[str]) -> str:
    """Return the text with what is between its two marks replaced by the lines."""
    table = "\n".join([BEGIN, *lines, END])
    return re.sub(f"{BEGIN}.*{END}", lambda _: table, text, flags=re.DOTALL)
