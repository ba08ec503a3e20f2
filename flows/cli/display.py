"""What a run prints: a progress bar or plain lines while it lasts, and a table at its end."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import rich.progress
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.table import Table
from rich.text import Text

from tasks.leftovers import Leftover
from tasks.models import Check, FileResult
from tasks.results.ledger import DONE
from tasks.results.listeners import listening
from tasks.results.progress import Progress, detail, headline
from tasks.results.run_report import DryRun, Report, RunInfo, RunSummary
from tasks.results.text import counted, labels, printable, printable_lines, uploaded

OURS = ("tasks", "flows", "__main__")
# The command itself prints the error that ends a run, and the table shows what tasks.report logs.
# asyncio logs each transfer that an interruption ends, which does not help the user.
HIDDEN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "tasks.report", "asyncio")
PLAIN_SECONDS = 5.0  # between two lines of progress, if the output is not a terminal
PLAIN_WIDTH = 160
LEAST_HOURS = 0.005  # to show: less would be rounded to 0.00
TABLE_ROWS = 100  # for more files, the table shows only those that are not converted
COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "file": {"overflow": "fold"},
    "preset": {"no_wrap": True},
    "state": {"no_wrap": True},
    "seconds": {"justify": "right", "no_wrap": True},
    "size": {"justify": "right", "no_wrap": True},
    "output or reason": {"overflow": "fold"},
}
STYLES = {
    "converted": "green",
    "skipped": "dim",
    "failed": "bold red",
    "not_started": "yellow",
    "interrupted": "yellow",
}


CHECK_STATES = {
    "passed": Text("ok", style="green"),
    "failed": Text("failed", style="bold red"),
    "unchecked": Text("not checked", style="yellow"),
}


class Display:
    """Shows a run on a terminal or in a log, and keeps its report."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.report: Report | None = None
        self._bar = rich.progress.Progress(
            TextColumn("Converting", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self.console,
            transient=True,
        )
        self._shown: Progress | None = None
        self._shown_at = 0.0

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show what the stages log and publish during the block."""
        root = logging.getLogger()
        others, root.handlers = root.handlers, [ConsoleHandler(self.console)]
        try:
            with listening(self._on_news):
                yield
        finally:
            self._stop_bar()
            root.handlers = others

    def _on_news(self, news: object) -> None:
        if isinstance(news, Report):
            self.report = news
            self._stop_bar()
        elif isinstance(news, Progress):
            self._on_progress(news)

    def _on_progress(self, progress: Progress) -> None:
        if self.console.is_terminal:
            self._move_bar(progress)
        elif self._is_due(progress):
            print_text(headline(progress), self.console)
            self._shown, self._shown_at = progress, time.monotonic()

    def _move_bar(self, progress: Progress) -> None:
        if not self._bar.task_ids:
            self._bar.start()
            self._bar.add_task("", total=progress.files, detail="")
        self._bar.update(
            self._bar.task_ids[0],
            completed=progress.done,
            detail=detail(progress),
        )

    def _stop_bar(self) -> None:
        if self._bar.task_ids:
            self._bar.stop()

    def _is_due(self, progress: Progress) -> bool:
        is_new = progress != self._shown
        return is_new and time.monotonic() - self._shown_at >= PLAIN_SECONDS


class ConsoleHandler(logging.Handler):
    """Prints log lines of the stages, and errors of other loggers without their tracebacks."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def filter(self, record: logging.LogRecord) -> bool:
        least = logging.INFO if record.name.startswith(OURS) else logging.ERROR
        return record.levelno >= least and not record.name.startswith(HIDDEN_LOGGERS)

    def emit(self, record: logging.LogRecord) -> None:
        time_of_day = time.strftime("%H:%M:%S", time.localtime(record.created))
        style = "" if record.levelno < logging.WARNING else "yellow"
        message = printable_lines(record.getMessage())
        line = Text.assemble((time_of_day, "dim"), " ", (message, style))
        self._console.print(line, soft_wrap=True)


def print_report(report: Report) -> None:
    """Print the table and the totals on standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    rows = shown_rows(report.files)
    if rows:
        console.print(file_table(rows, columns(report)))
    if rest := describe_rest(rows, report.files):
        print_text(rest, console)
    for line in totals(report):
        print_text(line, console)
    if dry_run := report.run.dry_run:
        print_checks(dry_run.checks, console)


def print_text(text: str, console: Console) -> None:
    """Print a text as it is, with names in it: nothing in it is markup."""
    console.print(Text(printable_lines(text)), soft_wrap=True)


def print_leftovers(leftovers: Sequence[Leftover], *, are_deleted: bool) -> None:
    console = Console()
    for leftover in leftovers:
        when = leftover.expires_at.isoformat(timespec="minutes")
        print_text(f"{leftover.kind:8}{leftover.name}  expired {when}", console)
    print_text(describe_leftovers(len(leftovers), are_deleted=are_deleted), console)


def describe_leftovers(count: int, *, are_deleted: bool) -> str:
    if not count:
        return "No leftovers found."
    if are_deleted:
        return f"Deleted {counted(count, 'leftover')}."
    return f"Found {counted(count, 'leftover')}. To delete, run again with --delete."


def shown_rows(files: Iterable[FileResult]) -> list[FileResult]:
    files = list(files)
    if len(files) <= TABLE_ROWS:
        return files
    return [file for file in files if file.state not in DONE or file.warnings][:TABLE_ROWS]


def describe_rest(rows: Sequence[FileResult], files: Sequence[FileResult]) -> str:
    """Return a line about the files without a row."""
    done = sum(file.state in DONE for file in files)
    missing = len(files) - done - sum(file.state not in DONE for file in rows)
    if missing:
        return f"… and {counted(missing, 'more file')} not converted."
    rest = len(files) - len(rows)
    return f"… and {counted(rest, 'file')} converted or skipped." if rest else ""


def columns(report: Report) -> Sequence[str]:
    """Return the columns of the table. With several presets, it has a column for the preset."""
    several = len(report.run.presets) > 1
    return [name for name in COLUMNS if name != "preset" or several]


def file_table(files: Sequence[FileResult], names: Sequence[str] = tuple(COLUMNS)) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, **COLUMNS[name])
    for file, label in zip(files, labels(files), strict=True):
        cells = row(file, label)
        table.add_row(*(cells[name] for name in names))
    return table


def row(file: FileResult, label: str) -> dict[str, Text]:
    return {
        "file": Text(printable(label)),
        "preset": Text(file.preset),
        "state": Text(
            file.state.replace("_", " "), style="yellow" if file.warnings else STYLES[file.state]
        ),
        "seconds": Text("" if file.seconds is None else f"{file.seconds:.1f}"),
        "size": Text("" if file.output_bytes is None else decimal(file.output_bytes)),
        "output or reason": Text(printable(file.output_or_reason)),
    }


def totals(report: Report) -> Iterator[str]:
    run, summary = report.run, report.summary
    if run.dry_run:
        yield from describe_dry_run(run.dry_run, summary)
        return
    if summary.failed == len(report.files):
        yield "None of the sources could be converted."
    yield f"{report.headline} in {summary.seconds:.1f} s."
    if summary.sent_bytes:
        yield f"Uploaded: {uploaded(summary.sent_bytes, summary.source_bytes)}."
    if any(shown_hours(summary)):
        yield describe_node_hours(summary)
    if diagnosis := run.diagnosis:
        yield " ".join(filter(None, (diagnosis.summary, diagnosis.detail, diagnosis.remedy)))
    if summary.converted or summary.skipped:
        yield f"Outputs: {describe_outputs(run)}"


def describe_outputs(run: RunInfo) -> str:
    """Return where the outputs are and how to download them."""
    if run.is_fetched:
        return run.download_to
    place = "/".join(filter(None, (run.container, run.prefix)))
    if run.download_to:
        return f"container {place}. Run again to download them to {run.download_to}."
    return f"container {place}. To download them, run again with --download-to DIR."


def shown_hours(summary: RunSummary) -> dict[str, str]:
    """Return the node hours by activity, without activities of less than 18 seconds."""
    hours = summary.node_hours.items()
    return {name.replace("_", " "): f"{n:.2f}" for name, n in hours if n >= LEAST_HOURS}


def describe_node_hours(summary: RunSummary) -> str:
    """Return the node hours by activity, and their cost if a price is known."""
    parts = ", ".join(f"{hours} {name}" for name, hours in shown_hours(summary).items())
    cost = f"; {summary.cost:.2f} at your price" if summary.cost is not None else ""
    return f"Node hours: {parts}{cost}."


def describe_dry_run(dry_run: DryRun, summary: RunSummary) -> Iterator[str]:
    refused = f"{summary.failed - summary.known_failures} not convertible"
    if summary.known_failures:
        refused += f", {summary.known_failures} failed in an earlier run"
    uploads = f"{counted(dry_run.uploads, 'file')} to upload"
    if dry_run.uploads:
        uploads += f" ({uploaded(dry_run.upload_bytes, summary.source_bytes)})"
    yield (
        f"Dry run: {dry_run.conversions} to convert, {dry_run.skipped} skipped,"
        f" {refused}; {uploads}."
    )
    if not dry_run.conversions:
        return
    if dry_run.pool:
        yield f"Pool: {dry_run.pool}, shared."
    else:
        files = counted(dry_run.slots_per_node, "file")
        yield (
            f"Pool: {dry_run.spot_nodes} Spot and {dry_run.dedicated_nodes} dedicated nodes of size"
            f" {dry_run.vm_size}. Each converts {files} in parallel."
        )
    guess = dry_run.estimate
    price = f", {guess.cost:.2f} at your price" if guess.cost is not None else ""
    yield f"Estimate for Azure: {guess.node_hours:g} node hours{price} ({guess.basis})."


def print_checks(checks: Sequence[Check], console: Console) -> None:
    """Print what the run requires of the accounts, and how to fix what is missing."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("check", "state", "what to do"):
        table.add_column(column, overflow="fold")
    for check in checks:
        advice = printable_lines(" ".join(filter(None, (check.detail, check.remedy))))
        table.add_row(Text(check.what), CHECK_STATES[check.state], Text(advice))
    console.print(table)
