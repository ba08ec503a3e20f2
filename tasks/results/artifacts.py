"""The artifacts on a run's page in Prefect: its progress, a table of files, and a report as text.

They are a convenience: a run continues if Prefect does not accept them.
"""

import asyncio
import logging
import re
import shlex
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
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
from tasks.results.lanes import UNPAID
from tasks.results.progress import Progress, headline
from tasks.results.run_report import Report
from tasks.results.text import labels, printable

PROGRESS, FILES, REPORT = (
    "convert-progress",
    "convert-files",
    "convert-report",
)  # the artifacts' keys
PAUSE_SECONDS = 5.0  # between two updates of the progress
TIMEOUT_SECONDS = 10.0  # for Prefect's server
TABLE_ROWS = 1000  # take 20 ms and 0.3 MB of Prefect's database; picture and report have all rows
SHELL_WIDTH = 64  # characters in a line of shell; both of Prefect's UIs show them without scrolling
FAILURES = 50  # in the report as text
ORDER = ("failed", "interrupted", "not_started", "converted", "skipped")
MARKDOWN = re.compile(r"([!-/:-@\[-`{-~])")  # all ASCII punctuation may be escaped
# One of Prefect's UIs shows cells as Markdown, the other as plain text. So only actual markup is
# escaped, and a space that would begin a list becomes a no-break space, which looks the same.
IN_CELL = re.compile(r"[\\`*<\[\]~&@|]|(?<!\w)_|_(?!\w)|(?<=www)\.|(?<=:)/")
BLOCK_START = re.compile(r"^(\s+|(?:[#>+=-]+|\d+[.)])\s)")
logger = logging.getLogger(__name__)


class ProgressArtifact:
    """The progress of a run on its page, updated every few seconds and at the end."""

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
        text = headline(progress)
        async with ignoring_outages():
            if self._artifact:
                await aupdate_progress_artifact(self._artifact, percent, text)
            else:
                self._artifact = await acreate_progress_artifact(percent, PROGRESS, text)


async def show_report(report: Report, request: Request) -> None:
    """Show the table of files and the report as text, if this is a run in Prefect."""
    if not runtime.flow_run.id:
        return
    async with blob_service() as service:
        account = str(service.account_name)
        container = f"{service.url.rstrip('/')}/{request.output.container}"
    async with ignoring_outages():
        rows = table_rows(report.files)
        await acreate_table_artifact(rows, FILES, table_description(len(rows), report))
        locations = location_lines(report, account=account, container=container)
        text = "\n".join([*markdown_lines(report, request), *locations])
        await acreate_markdown_artifact(text, REPORT, report.headline)


@asynccontextmanager
async def ignoring_outages() -> AsyncIterator[None]:
    """Ignore errors of Prefect's server during the block, and end the block after a timeout."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield
    except (httpx.HTTPError, PrefectHTTPStatusError, TimeoutError) as error:
        logger.debug("Prefect did not accept an artifact: %s", error)


def table_rows(files: Iterable[FileResult]) -> list[dict[str, Any]]:
    """Return the rows of the table: files that are not converted first, at most TABLE_ROWS."""
    ranked = sorted(files, key=lambda file: (ORDER.index(file.state), not file.warnings))
    found = ranked[:TABLE_ROWS]
    return [
        {
            "file": escape_cell(label),
            "state": file.state.replace("_", " "),
            "output or reason": escape_cell(file.output_or_reason),
            "seconds": "" if file.seconds is None else f"{file.seconds:.1f}",
            "size": "" if file.output_bytes is None else decimal(file.output_bytes),
            "preset": file.preset,
            "tries": str(file.attempts),
            "node": file.node or "",
        }
        for file, label in zip(found, labels(found), strict=True)
    ]


def table_description(rows: int, report: Report) -> str:
    if rows == len(report.files):
        return f"All files: {report.headline}."
    rest = len(report.files) - rows
    return (
        f"{report.headline}. This table has {rows} files; files that are not converted come first."
        f" The picture of the run and the report file have the other {rest} too."
    )


def markdown_lines(report: Report, request: Request) -> Iterator[str]:
    summary, diagnosis = report.summary, report.run.diagnosis
    yield f"# {escape_markdown(report.headline or 'Nothing to do')}\n"
    if diagnosis:
        problem = escape_markdown(" ".join(filter(None, (diagnosis.summary, diagnosis.detail))))
        remedy = escape_markdown(diagnosis.remedy)
        yield f"**{problem}** {remedy} ({code_span(diagnosis.code)})\n"
    yield "| | |\n|---|---|"
    for name, value in totals(report, request):
        yield f"| {name} | {value} |"
    missing = [file for file in report.files if file.state in ORDER[:3]]
    if missing:
        yield from failure_lines(missing)
    if warned := [file for file in report.files if file.warnings]:
        yield from warning_lines(warned)
    if summary.converted or summary.failed:
        yield "\n## The ffmpeg command\n"
        for preset in request.output.chosen:
            more = " (some sources need more options)" if preset.holds_cover else ""
            yield f"\n{code_span(preset.name)}{more}:\n"
            yield shell_block(ffmpeg_words(preset))


def totals(report: Report, request: Request) -> Iterator[tuple[str, str]]:
    run, summary = report.run, report.summary
    yield "Files", f"{summary.files} to {', '.join(map(code_span, run.presets))}"
    yield "Duration", f"{summary.seconds:.1f} s for {summary.source_seconds:.1f} s of media"
    yield "Output size", decimal(summary.output_bytes)
    yield from pool_rows(report, request.pool)
    hours = {name: value for name, value in summary.node_hours.items() if value}
    if hours:
        parts = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in hours.items())
        billed = sum(value for name, value in hours.items() if name not in UNPAID)
        yield "Node hours", f"{billed:.4f} billed: {parts}"
    if summary.cost is not None:
        yield "Cost", f"{summary.cost:.2f} at your price"
    if summary.converting_share is not None:
        yield "Time converting", f"{summary.converting_share:.0%} of the billed node time"


def pool_rows(report: Report, pool: Pool) -> Iterator[tuple[str, str]]:
    """Yield the pool, nodes and job that the run used, or that it would use without dry run."""
    run, dry_run = report.run, report.run.dry_run
    limits = f"at most {pool.spot_nodes} Spot and {pool.dedicated_nodes} dedicated"
    size = f"{code_span(pool.vm_size)}, {pool.slots_per_node} slots each"
    if dry_run and dry_run.conversions:
        count = f"{dry_run.spot_nodes} Spot and {dry_run.dedicated_nodes} dedicated"
        shared = dry_run.pool
        yield ("Pool", f"{code_span(shared)}, shared") if shared else ("Nodes", f"{count}; {size}")
    if run.pool:
        origin = "created by this run" if run.owns_pool else "shared"
        yield "Pool", f"{code_span(run.pool)}, {origin}"
        yield "Nodes", f"{len(report.nodes)} ({limits}); {size}"
    if run.job:
        yield "Job", code_span(run.job)


def failure_lines(missing: Sequence[FileResult]) -> Iterator[str]:
    yield "\n## Files that are not converted\n"
    yield "| file | state | reason |\n|---|---|---|"
    listed = missing[:FAILURES]
    for file, label in zip(listed, labels(listed), strict=True):
        reason = escape_markdown(file.reason or "")
        yield f"| {escape_markdown(label)} | {file.state.replace('_', ' ')} | {reason} |"
    if len(missing) > FAILURES:
        yield f"\n… and {len(missing) - FAILURES} more: see the table of files or the report file."


def warning_lines(warned: Sequence[FileResult]) -> Iterator[str]:
    yield "\n## Files that are converted with a warning\n"
    yield "| file | preset | warning |\n|---|---|---|"
    listed = warned[:FAILURES]
    for file, label in zip(listed, labels(listed), strict=True):
        warning = escape_markdown(" ".join(file.warnings))
        yield f"| {escape_markdown(label)} | {file.preset} | {warning} |"
    if len(warned) > FAILURES:
        yield f"\n… and {len(warned) - FAILURES} more: see the table of files or the report file."


def location_lines(report: Report, *, account: str, container: str) -> Iterator[str]:
    run = report.run
    yield "\n## Locations\n"
    prefix = f", prefix {code_span(run.prefix)}" if run.prefix else ""
    yield f"- Outputs: container [{run.container}](<{container}>){prefix}"
    if name := run.picture:
        # A plain link would need a SAS token. The command uses the reader's own sign-in.
        is_azure = container.startswith("https://")
        login = ["--auth-mode", "login", "--account-name", account] if is_azure else []
        words = ["az", "storage", "blob", "download", *login]
        words += ["--container", run.container, "--name", name, "--file", "picture.html"]
        how = "" if is_azure else ", with the settings of local Azure in the environment"
        yield f"- Picture of the run: blob {code_span(name)} there. To download it{how}:\n"
        yield f"{shell_block([printable(word) for word in words])}\n"
    if run.download_to:
        yield f"- Downloads: {code_span(run.download_to)}"
    if run.report:
        yield f"- Report: {code_span(run.report)}, with the picture beside it"


def shell_block(words: Iterable[str]) -> str:
    """Return a code block with a shell command, broken into lines of about SHELL_WIDTH."""
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) > SHELL_WIDTH:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    text = " \\\n".join(lines)
    return f"```sh\n{text}\n```"


def escape_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it unchanged, without links, cells or elements."""
    return MARKDOWN.sub(r"\\\1", printable(text))


def escape_cell(text: str) -> str:
    """Escape a text for a cell of a table artifact."""
    shown = IN_CELL.sub(lambda found: f"\\{found[0]}", printable(text))
    return BLOCK_START.sub(lambda start: start[0].replace(" ", "\u00a0"), shown)


def code_span(text: str) -> str:
    """Return a text as code. A bar is replaced: in a table it would end the cell, even in code."""
    shown = printable(text).replace("|", "¦")
    ticks = "`" * (1 + max([0, *map(len, re.findall("`+", shown))]))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"
