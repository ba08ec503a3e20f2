"""What a run shows on its page in Prefect: how far it is, every file, and a report to read.

Prefect's page is a convenience: where it cannot be had, a run goes on without.
"""

import asyncio
import logging
import re
import shlex
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect import runtime
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.exceptions import PrefectHTTPStatusError
from rich.filesize import decimal

from tasks.azure.clients import blob_service
from tasks.media.ffmpeg_command import ffmpeg_words
from tasks.models import FileResult
from tasks.parameters import Pool, Request
from tasks.results.progress import Progress, headline
from tasks.results.text import printable
from tasks.results.timeline import UNPAID

if TYPE_CHECKING:
    from tasks.report import Report

PROGRESS, FILES, REPORT = (
    "convert-progress",
    "convert-files",
    "convert-report",
)  # the artifacts' keys
PAUSE_SECONDS = 5.0  # between two updates of the progress
PATIENCE_SECONDS = 10.0  # with Prefect's server
TABLE_ROWS = 1000  # 20 ms and 0.3 MB of Prefect's database; the picture and the report have all
SHELL_WIDTH = 64  # characters of a line of shell: what both of Prefect's interfaces have room for
FAILURES = 50  # that the report to read has
ORDER = ("failed", "interrupted", "not_started", "converted", "skipped")
MARKDOWN = re.compile(r"([!-/:-@\[-`{-~])")  # all of ASCII's punctuation may be escaped
# One of Prefect's interfaces reads cells as Markdown, the other as text: only what would be markup
# there is escaped, and spaces that would begin a list become unbreakable, which no one sees.
IN_CELL = re.compile(r"[\\`*<\[\]~&@|]|(?<!\w)_|_(?!\w)|(?<=www)\.|(?<=:)/")
BLOCK_START = re.compile(r"^(\s+|(?:[#>+=-]+|\d+[.)])\s)")
logger = logging.getLogger(__name__)


class ProgressBar:
    """How far a run is, on its page: told now and then, and at the end."""

    def __init__(self) -> None:
        self._artifact: UUID | None = None
        self._due_seconds = 0.0

    async def show(self, progress: Progress, *, elapsed_seconds: float) -> None:
        done = progress.converted + progress.failed
        is_last = done >= progress.files
        if not runtime.flow_run.id or (elapsed_seconds < self._due_seconds and not is_last):
            return
        self._due_seconds = elapsed_seconds + PAUSE_SECONDS
        percent = 100.0 * done / max(progress.files, 1)
        words = headline(progress)
        async with bearing_outages():
            if self._artifact:
                await aupdate_progress_artifact(self._artifact, percent, words)
            else:
                self._artifact = await acreate_progress_artifact(percent, PROGRESS, words)


async def show_report(report: "Report", request: Request) -> None:
    """The table of files and the report to read."""
    if not runtime.flow_run.id:
        return
    async with blob_service() as service:
        account = str(service.account_name)
        container = f"{service.url.rstrip('/')}/{request.output.container}"
    async with bearing_outages():
        rows = to_rows(report.files)
        await acreate_table_artifact(rows, FILES, about_table(len(rows), report))
        links = to_links(report, account=account, container=container)
        text = "\n".join([*to_markdown(report, request), *links])
        await acreate_markdown_artifact(text, REPORT, report.headline)


@asynccontextmanager
async def bearing_outages() -> AsyncIterator[None]:
    """An artifact that cannot be made is no reason to fail, nor to wait for long."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except (httpx.HTTPError, PrefectHTTPStatusError, TimeoutError) as error:
        logger.debug("Prefect takes no artifact: %s", error)


def to_rows(files: Iterable[FileResult]) -> list[dict[str, Any]]:
    """What is not converted first, and no more than a page can bear."""
    found = sorted(files, key=lambda file: ORDER.index(file.state))[:TABLE_ROWS]
    return [
        {
            "file": in_cell(file.source),
            "state": file.state.replace("_", " "),
            "output or reason": in_cell(told(file)),
            "seconds": "" if file.seconds is None else f"{file.seconds:.1f}",
            "size": "" if file.output_bytes is None else decimal(file.output_bytes),
            "preset": file.preset,
            "tries": str(file.attempts),
            "node": file.node or "",
        }
        for file in found
    ]


def told(file: FileResult) -> str:
    is_there = file.state in ("converted", "skipped")
    return (file.output if is_there else file.reason) or ""


def about_table(rows: int, report: "Report") -> str:
    if rows == len(report.files):
        return f"Every file: {report.headline}."
    rest = len(report.files) - rows
    return (
        f"{report.headline}. The first {rows} files, those that are not converted ahead;"
        f" the picture of the run and its report file have the other {rest} too."
    )


def to_markdown(report: "Report", request: Request) -> Iterator[str]:
    summary, diagnosis = report.summary, report.run["diagnosis"]
    yield f"# {escaped(report.headline or 'Nothing to do')}\n"
    if diagnosis:
        said = " ".join(filter(None, (diagnosis["summary"], diagnosis["detail"])))
        yield f"**{escaped(said)}** {escaped(diagnosis['remedy'])} ({code(diagnosis['code'])})\n"
    yield "| | |\n|---|---|"
    for name, value in to_totals(report, request):
        yield f"| {name} | {value} |"
    missing = [file for file in report.files if file.state in ORDER[:3]]
    if missing:
        yield from to_failures(missing)
    if summary["converted"] or summary["failed"]:
        yield "\n## The ffmpeg line\n"
        for preset in request.output.chosen:
            more = (
                "; a source's cover art or sample size can add to it" if preset.holds_cover else ""
            )
            yield f"\n{code(preset.name)}{more}:\n"
            yield in_shell(ffmpeg_words(preset))


def to_totals(report: "Report", request: Request) -> Iterator[tuple[str, str]]:
    run, summary = report.run, report.summary
    yield "Files", f"{summary['files']} to {', '.join(map(code, run['presets']))}"
    yield "Took", f"{summary['seconds']:.1f} s for {summary['source_seconds']:.1f} s of media"
    yield "Written", decimal(summary["output_bytes"])
    yield from to_machines(report, request.pool)
    hours = {name: value for name, value in summary["node_hours"].items() if value}
    if hours:
        said = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in hours.items())
        paid = sum(value for name, value in hours.items() if name not in UNPAID)
        yield "Node hours", f"{paid:.4f} to pay for: {said}"
    if summary["cost"] is not None:
        yield "Cost", f"{summary['cost']:.2f} at your price"
    if summary["converting_share"] is not None:
        yield "Spent converting", f"{summary['converting_share']:.0%} of the nodes' time"


def to_machines(report: "Report", pool: Pool) -> Iterator[tuple[str, str]]:
    """Those that the run asked for, or would have."""
    run, dry_run = report.run, report.run["dry_run"]
    at_most = f"{pool.spot_nodes} Spot and {pool.dedicated_nodes} dedicated at most"
    size = f"{code(pool.vm_size)}, {pool.slots_per_node} files at once on each"
    if dry_run and dry_run["conversions"]:
        count = f"{dry_run['spot_nodes']} Spot and {dry_run['dedicated_nodes']} dedicated"
        shared = dry_run["pool"]
        yield ("Pool", f"{code(shared)}, shared") if shared else ("Nodes", f"{count}; {size}")
    if run["pool"]:
        yield "Pool", f"{code(run['pool'])}, {'of its own' if run['owns_pool'] else 'shared'}"
        yield "Nodes", f"{len(report.nodes)} ({at_most}); {size}"
    if run["job"]:
        yield "Job", code(run["job"])


def to_failures(missing: Sequence[FileResult]) -> Iterator[str]:
    yield "\n## What is not converted, and why\n"
    yield "| file | state | reason |\n|---|---|---|"
    for file in missing[:FAILURES]:
        reason = escaped(file.reason or "")
        yield f"| {escaped(file.source)} | {file.state.replace('_', ' ')} | {reason} |"
    if len(missing) > FAILURES:
        yield f"\n… and {len(missing) - FAILURES} more: see the table, or the report file."


def to_links(report: "Report", *, account: str, container: str) -> Iterator[str]:
    run = report.run
    yield "\n## Where it is\n"
    prefix = f", under {code(run['prefix'])}" if run["prefix"] else ""
    yield f"- Outputs: the container [{run['container']}](<{container}>){prefix}"
    if name := run["picture"]:
        # A link would ask whoever follows it for a signature; this asks for what they have.
        is_azure = container.startswith("https://")
        login = ["--auth-mode", "login", "--account-name", account] if is_azure else []
        words = ["az", "storage", "blob", "download", *login]
        words += ["--container", run["container"], "--name", name, "--file", "picture.html"]
        where = "" if is_azure else ", with the local stack's settings in the environment"
        yield f"- Picture of the run: the blob {code(name)} there. To fetch it{where}:\n"
        yield f"{in_shell([printable(word) for word in words])}\n"
    if run["download_to"]:
        yield f"- Downloads: {code(run['download_to'])}"
    if run["report"]:
        yield f"- Report: {code(run['report'])}, with the picture beside it"


def in_shell(words: Iterable[str]) -> str:
    """A command in a block of its own, in lines that can be read without scrolling."""
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) > SHELL_WIDTH:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    text = " \\\n".join(lines)
    return f"```sh\n{text}\n```"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: no name makes a link, a row or an element."""
    return MARKDOWN.sub(r"\\\1", printable(text))


def in_cell(text: str) -> str:
    """Text for a cell of a table artifact."""
    shown = IN_CELL.sub(lambda found: f"\\{found[0]}", printable(text))
    return BLOCK_START.sub(lambda start: start[0].replace(" ", "\u00a0"), shown)


def code(text: str) -> str:
    """Text as code, in a table too, where a bar would end the cell whatever is around it."""
    shown = printable(text).replace("|", "¦")
    ticks = "`" * (1 + max([0, *map(len, re.findall("`+", shown))]))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"
