"""What a person sees of a run: a bar or plain lines while it lasts, a table at its end."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from tasks.leftovers import Leftover
from tasks.models import FileResult
from tasks.report import Report
from tasks.results.ledger import DONE
from tasks.results.listeners import listening
from tasks.results.progress import Progress, detail, headline
from tasks.results.text import counted, printable

OURS = ("tasks", "flows", "__main__")
# What ends a run the command says itself, and the report is its table. What asyncio says of the
# SDK's transfers that an interruption breaks off helps nobody.
SAID_OTHERWISE = ("prefect.flow_runs", "prefect.task_runs", "tasks.report", "asyncio")
PLAIN_SECONDS = 5.0  # between lines of progress where there is no terminal
PLAIN_WIDTH = 160
SHOWN_HOURS = 0.005
TABLE_ROWS = 100  # where there are more files, only those that are not converted get a row
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
    "failed": Text("wrong", style="bold red"),
    "unchecked": Text("not checked", style="yellow"),
}


class Display:
    """Shows a run on a terminal or in a log; keeps its report."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.report: Report | None = None
        self._bar = Bar(
            TextColumn("Converting"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            console=self.console,
            transient=True,
        )
        self._shown: Progress | None = None
        self._shown_at = 0.0

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show what the stages log and publish, for as long as the block runs."""
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
            self.console.print(headline(progress))
            self._shown, self._shown_at = progress, time.monotonic()

    def _move_bar(self, progress: Progress) -> None:
        if not self._bar.task_ids:
            self._bar.start()
            self._bar.add_task("", total=progress.files, detail="")
        self._bar.update(
            self._bar.task_ids[0],
            completed=progress.converted + progress.failed,
            detail=detail(progress),
        )

    def _stop_bar(self) -> None:
        if self._bar.task_ids:
            self._bar.stop()

    def _is_due(self, progress: Progress) -> bool:
        is_new = progress != self._shown
        return is_new and time.monotonic() - self._shown_at >= PLAIN_SECONDS


class ConsoleHandler(logging.Handler):
    """Our stages' own lines, and the errors of others. Tracebacks stay in Prefect's log."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def filter(self, record: logging.LogRecord) -> bool:
        least = logging.INFO if record.name.startswith(OURS) else logging.ERROR
        return record.levelno >= least and not record.name.startswith(SAID_OTHERWISE)

    def emit(self, record: logging.LogRecord) -> None:
        time_of_day = time.strftime("%H:%M:%S", time.localtime(record.created))
        style = "" if record.levelno < logging.WARNING else "yellow"
        line = Text.assemble((time_of_day, "dim"), " ", (record.getMessage(), style))
        self._console.print(line, soft_wrap=True)


def print_report(report: Report) -> None:
    """The table and the totals, on standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    rows = shown_rows(report.files)
    if rows:
        console.print(file_table(rows, columns(report)))
    if rest := left_out(rows, report.files):
        console.print(rest)
    for line in totals(report):
        console.print(line, highlight=False, soft_wrap=True)
    if dry_run := report.run["dry_run"]:
        print_checks(dry_run["checks"], console)


def print_leftovers(leftovers: Sequence[Leftover], *, are_deleted: bool) -> None:
    console = Console()
    for leftover in leftovers:
        when = leftover.expires_at.isoformat(timespec="minutes")
        console.print(f"{leftover.kind:8}{leftover.name}  expired {when}", soft_wrap=True)
    verb = "deleted" if are_deleted else "to delete. --delete deletes them"
    none = "Nothing is left behind by runs whose deadline has passed."
    console.print(f"{len(leftovers)} leftovers {verb}." if leftovers else none)


def shown_rows(files: Iterable[FileResult]) -> list[FileResult]:
    files = list(files)
    if len(files) <= TABLE_ROWS:
        return files
    return [file for file in files if file.state not in DONE][:TABLE_ROWS]


def left_out(rows: Sequence[FileResult], files: Sequence[FileResult]) -> str:
    """What the table is silent about."""
    done = sum(file.state in DONE for file in files)
    missing = len(files) - done - sum(file.state not in DONE for file in rows)
    if missing:
        return f"… and {missing} more that are not converted."
    rest = len(files) - len(rows)
    return f"… and {counted(rest, 'file')} converted or skipped." if rest else ""


def columns(report: Report) -> Sequence[str]:
    """A file has several rows where there are several presets: then they are told apart."""
    several = len(report.run["presets"]) > 1
    return [name for name in COLUMNS if name != "preset" or several]


def file_table(files: Iterable[FileResult], names: Sequence[str] = tuple(COLUMNS)) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, **COLUMNS[name])
    for file in files:
        cells = row(file)
        table.add_row(*(cells[name] for name in names))
    return table


def row(file: FileResult) -> dict[str, Text]:
    told = file.output if file.state in DONE and file.output else file.reason or ""
    return {
        "file": Text(printable(file.source)),
        "preset": Text(file.preset),
        "state": Text(file.state.replace("_", " "), style=STYLES[file.state]),
        "seconds": Text("" if file.seconds is None else f"{file.seconds:.1f}"),
        "size": Text("" if file.output_bytes is None else decimal(file.output_bytes)),
        "output or reason": Text(printable(told)),
    }


def totals(report: Report) -> Iterator[str]:
    run, summary = report.run, report.summary
    if run["dry_run"] is not None:
        yield from forecast(run["dry_run"], failed=summary["failed"])
        return
    if summary["failed"] == len(report.files):
        yield "None of the sources could be converted."
    yield f"{report.headline} in {summary['seconds']:.1f} s."
    if any(shown_hours(summary)):
        yield spent(summary)
    if diagnosis := run["diagnosis"]:
        yield f"{diagnosis['summary']} {diagnosis['detail']} {diagnosis['remedy']}"
    if summary["converted"] or summary["skipped"]:
        yield f"Outputs: {whereabouts(run)}"


def whereabouts(run: Mapping[str, Any]) -> str:
    """Of the outputs, and how to fetch them."""
    if run["is_fetched"]:
        return str(run["download_to"])
    place = "/".join(filter(None, (run["container"], run["prefix"])))
    wanted = run["download_to"]
    how = f"Run again to fetch them into {wanted}" if wanted else "--download-to DIR fetches them"
    return f"container {place}. {how}."


def shown_hours(summary: Mapping[str, Any]) -> dict[str, str]:
    """What node hours went into, but for less than half a minute's."""
    hours = summary["node_hours"].items()
    return {name.replace("_", " "): f"{n:.2f}" for name, n in hours if n >= SHOWN_HOURS}


def spent(summary: Mapping[str, Any]) -> str:
    """The node hours by what they went into, and the money, if a price was given."""
    parts = ", ".join(f"{hours} {name}" for name, hours in shown_hours(summary).items())
    cost = f"; {summary['cost']:.2f} at your price" if summary["cost"] is not None else ""
    return f"Node hours: {parts}{cost}."


def forecast(dry_run: dict[str, Any], *, failed: int) -> Iterator[str]:
    plan = dry_run
    uploads = f"{counted(plan['uploads'], 'file')} ({decimal(plan['upload_bytes'])}) to upload"
    yield (
        f"Dry run: {plan['conversions']} to convert, {plan['skipped']} skipped, {failed} that"
        f" cannot be converted; {uploads}."
    )
    if not plan["conversions"]:
        return
    if plan["pool"]:
        yield f"On the shared pool {plan['pool']}."
    else:
        yield (
            f"On a pool of {plan['spot_nodes']} spot and {plan['dedicated_nodes']} dedicated nodes,"
            f" {plan['vm_size']}, {plan['slots_per_node']} files at once on each."
        )
    guess = plan["estimate"]
    price = f", {guess['cost']:.2f} at your price" if guess["cost"] is not None else ""
    yield f"Some {guess['node_hours']:g} node hours{price} ({guess['basis']})."


def print_checks(checks: Sequence[Mapping[str, str]], console: Console) -> None:
    """What a run needs of its accounts, and how to mend what it lacks."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("account", "state", "what to do"):
        table.add_column(column, overflow="fold")
    for check in checks:
        told = Text(" ".join(filter(None, (check["detail"], check["remedy"]))))
        table.add_row(check["what"], CHECK_STATES[check["state"]], told)
    console.print(table)
