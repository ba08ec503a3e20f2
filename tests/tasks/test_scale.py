"""A plan and its report for many files: time and memory grow no faster than the files.

CI uses 1,000 files. The full test:  PLAN_FILES=100000 .venv/bin/pytest -n0 -s <this file>
"""

import io
import os
import shutil
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from records import a_request, a_ticket

from flows.cli.display import print_report
from tasks.models import Evidence
from tasks.plan import make_plan, update_plan
from tasks.report import write_report
from tasks.results.ledger import Ledger

FILES = int(os.environ.get("PLAN_FILES", "1000"))
PARTS = 4
InFlow = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


@dataclass
class Cost:
    """The CPU seconds of each step, and the bytes that are still allocated after it."""

    files: int
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_kept: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Measure the block. Tracing memory is exact but slow."""
        tracemalloc.start()
        began = cpu_seconds()
        yield
        self.seconds[step] = cpu_seconds() - began
        self.bytes_kept[step] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()


def cpu_seconds() -> float:
    """Return the CPU time of this process and its ended children: others do not add to it."""
    return sum(os.times()[:4])


def fill(folder: Path, clip: Path, files: int) -> Path:
    """Copy a clip this many times, 100 to a folder."""
    for number in range(files):
        place = folder / f"{number // 100}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, place / f"talk {number}.m4a")
    return folder


async def measure(library: Path, files: int, containers: tuple[str, str], in_flow: InFlow) -> Cost:
    cost = Cost(files)
    request = a_request(containers, output={"report": str(library.parent / "r.json")})
    request = request.model_copy(update={"sources": [str(library)]})
    with cost.of("plan"):
        plan = await in_flow(lambda: make_plan.fn(request))
    assert len(plan.pending) == files
    with cost.of("confirmation"):
        assert update_plan(plan, request, outputs={}) == plan
    ledger = Ledger(plan=plan, request=request, ticket=a_ticket(), evidence=Evidence({}, {}, {}))
    with cost.of("report"), redirect_stdout(io.StringIO()) as said:
        print_report(write_report(ledger))
    assert f"{files} not started" in said.getvalue()
    sys.stderr.write(f"{cost}\n")
    return cost


@pytest.mark.usefixtures("account")
async def test_time_and_memory_grow_no_faster_than_the_files(
    containers: tuple[str, str],
    in_flow: InFlow,
    clip: Callable[..., Path],
    tmp_path: Path,
) -> None:
    small, few = clip(".m4a", audio=0.1), FILES // PARTS
    part = await measure(fill(tmp_path / "few", small, few), few, containers, in_flow)
    whole = await measure(fill(tmp_path / "many", small, FILES), FILES, containers, in_flow)
    for step, seconds in whole.seconds.items():
        assert seconds < 2 * PARTS * part.seconds[step] + 1, step
    assert whole.bytes_kept["plan"] < 1.5 * PARTS * part.bytes_kept["plan"]
