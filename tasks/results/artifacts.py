"""The artifacts on a run's page in Prefect: its progress, a table of files, and a report as text.

They are a convenience: a run continues if Prefect does not accept them.
"""

import asyncio
import json
import logging
import re
import shlex
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prefect import runtime
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from rich.filesize import decimal

from tasks.azure.clients import blob_service
from tasks.media.ffmpeg_command import ffmpeg_words
from tasks.models import FileResult
from tasks.parameters import Pool, Request
from tasks.results.artifact_keys import key_maker
from tasks.results.lanes import UNPAID
from tasks.results.ledger import DONE
from tasks.results.picture import path_beside
from tasks.results.progress import Progress, headline
from tasks.results.run_report import Report
from tasks.results.text import counted, labels, printable, uploaded

PAUSE_SECONDS = 5.0  # between two updates of the progress
TIMEOUT_SECONDS = 10.0  # for Prefect's server
TABLE_ROWS = 1000  # take 20 ms and 0.3 MB of Prefect's database; picture and report have all rows
SHELL_WIDTH = 64  # characters in a line of shell; both of Prefect's UIs show them without scrolling
REASON_WIDTH = 45  # characters in a line of a cell: Prefect's tables do not wrap
FAILURES = 50  # in the report as text
PICTURE_FILE = "picture.html"
LOOPBACK = ("127.0.0.1", "localhost")  # the local Azure, also over TLS
LOCAL_AZURE = "`python -m local_azure --env-file .env`"
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
        is_last = progress.done >= progress.files
        if not runtime.flow_run.id or (elapsed_seconds < self._due_seconds and not is_last):
            return
        self._due_seconds = elapsed_seconds + PAUSE_SECONDS
        percent = 100.0 * progress.done / max(progress.files, 1)
        text = headline(progress)
        async with ignoring_outages():
            if self._artifact:
                await aupdate_progress_artifact(self._artifact, percent, text)
            else:
                key = (await key_maker())("progress")
                self._artifact = await acreate_progress_artifact(percent, key, text)


async def show_report(report: Report, request: Request) -> None:
    """Show the table of files and the report as text, if this is a run in Prefect."""
    if not runtime.flow_run.id:
        return
    async with blob_service() as service:
        account, url = str(service.account_name), service.url.rstrip("/")
    async with ignoring_outages():
        rows = table_rows(report.files)
        make_key = await key_maker()
        await acreate_table_artifact(rows, make_key("files"), table_description(len(rows), report))
        locations = location_lines(report, account=account, url=url)
        text = "\n".join([*markdown_lines(report, request), *locations])
        await acreate_markdown_artifact(text, make_key("report"), report.headline)


@asynccontextmanager
async def ignoring_outages() -> AsyncIterator[None]:
    """Ignore errors of Prefect's server during the block, and end the block after a timeout."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield
    except (httpx.HTTPError, ObjectNotFound, PrefectHTTPStatusError, TimeoutError) as error:
        logger.debug("Prefect did not accept an artifact: %s", error)


def table_rows(files: Iterable[FileResult]) -> list[dict[str, Any]]:
    """Return the rows of the table: files that are not converted first, at most TABLE_ROWS."""
    ranked = sorted(files, key=lambda file: (ORDER.index(file.state), not file.warnings))
    found = ranked[:TABLE_ROWS]
    return [
        {
            "file": escape_cell(label),
            "state": file.state.replace("_", " "),
            "output or reason": cell_of(file),
            "seconds": "" if file.seconds is None else f"{file.seconds:.1f}",
            "size": "" if file.output_bytes is None else decimal(file.output_bytes),
            "preset": file.preset,
            "tries": str(file.attempts),
            "node": file.node or "",
        }
        for file, label in zip(found, labels(found), strict=True)
    ]


def cell_of(file: FileResult) -> str:
    """Return the output, or the reason in lines of about REASON_WIDTH.

    A name stays in one line, because one of Prefect's UIs shows a line break as a space.
    """
    text = printable(file.output_or_reason)
    lines = [text] if file.state in DONE and not file.warnings else wrap(text)
    return "\n".join(map(escape_cell, lines))


def wrap(text: str) -> list[str]:
    """Break a text at single spaces, so that the lines joined with spaces are the text."""
    return re.sub(rf"(.{{1,{REASON_WIDTH}}}) (?! )", r"\1\n", f"{text} ").rstrip().split("\n")


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
    for number, (name, value) in enumerate(totals(report, request)):
        yield f"| {name} | {value} |"
        if not number:  # a table needs a header
            yield "|---|---|"
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
    if summary.sent_bytes:
        yield "Uploaded", uploaded(summary.sent_bytes, summary.source_bytes)
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
    slots = dry_run.slots_per_node if dry_run else run.slots_per_node or 0
    size = f"{code_span(pool.vm_size)}, {counted(slots, 'slot')} each"
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
    for file, label in with_labels(missing):
        reason = escape_markdown(file.reason or "")
        yield f"- **{escape_markdown(label)}**, {file.state.replace('_', ' ')}: {reason}"
    yield from rest_lines(missing)


def warning_lines(warned: Sequence[FileResult]) -> Iterator[str]:
    yield "\n## Files that are converted with a warning\n"
    for file, label in with_labels(warned):
        warning = escape_markdown(" ".join(file.warnings))
        yield f"- **{escape_markdown(label)}**, {file.preset}: {warning}"
    yield from rest_lines(warned)


def with_labels(files: Sequence[FileResult]) -> Iterable[tuple[FileResult, str]]:
    """Return the files that a list shows. In a list, Prefect wraps long reasons."""
    listed = files[:FAILURES]
    return zip(listed, labels(listed), strict=True)


def rest_lines(files: Sequence[FileResult]) -> Iterator[str]:
    if len(files) > FAILURES:
        yield f"\n… and {len(files) - FAILURES} more: see the table of files or the report file."


def location_lines(report: Report, *, account: str, url: str) -> Iterator[str]:
    run, is_azure = report.run, urlsplit(url).hostname not in LOOPBACK
    yield "\n## Locations\n"
    prefix = f", prefix {code_span(run.prefix)}" if run.prefix else ""
    link = f"[{run.container}](<{url}/{run.container}>)"
    yield f"- Outputs: container {link if is_azure else code_span(run.container)}{prefix}"
    if run.report:
        picture = path_beside(Path(run.report))
        yield f"- Report: {code_span(run.report)}, and the picture: {code_span(str(picture))}"
    if run.download_to:
        yield f"- Downloads: {code_span(run.download_to)}"
    if run.picture and (is_azure or not run.report):
        command = az_command if is_azure else python_command
        how = command(run.container, printable(run.picture), account=account)
        yield f"- Picture of the run: blob {code_span(run.picture)} there. To download it, {how}"


def az_command(container: str, name: str, *, account: str) -> str:
    """Return how to download a picture with the sign-in of the reader."""
    login = ["--auth-mode", "login", "--account-name", account]
    place = ["--container", container, "--name", name, "--file", PICTURE_FILE]
    return f"run:\n\n{shell_block(['az', 'storage', 'blob', 'download', *login, *place])}\n"


def python_command(container: str, name: str, *, account: str) -> str:  # noqa: ARG001  as az_command
    """Return how to download a picture with the accounts of the environment or `.env`."""
    values = ",\n  ".join(
        json.dumps(each, ensure_ascii=False) for each in (container, name, PICTURE_FILE)
    )
    lines = f"from tasks.azure.saving import save_blob\nsave_blob({values})"
    command = f"```sh\npython -c {shlex.quote(lines)}\n```"
    return f"run this in the project's folder, while {LOCAL_AZURE} runs:\n\n{command}\n"


def shell_block(words: Iterable[str]) -> str:
    """Return a code block with a shell command, broken before options if it is too long."""
    lines = [""]
    for option in options(words):
        if lines[-1] and len(lines[-1]) + len(option) > SHELL_WIDTH:
            lines.append("   ")
        lines[-1] += f" {option}" if lines[-1] else option
    text = " \\\n".join(lines)
    return f"```sh\n{text}\n```"


def options(words: Iterable[str]) -> Iterator[str]:
    """Yield the words for the shell: each option with its value."""
    option: list[str] = []
    for word in words:
        if word.startswith("-") and option:
            yield shlex.join(option)
            option = []
        option.append(word)
    yield shlex.join(option)


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
