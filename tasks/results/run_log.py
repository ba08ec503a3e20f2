"""The log lines of the stages, on the run's page in Prefect."""

import logging

from prefect.context import FlowRunContext
from prefect.logging.handlers import APILogHandler

from tasks.results.text import printable_lines

STAGES = logging.getLogger("tasks")
PREFECT = (
    "prefect.flow_runs",
    "prefect.task_runs",
    "prefect.extra",
)  # loggers that send to its API
TRANSPORT_THREAD = "GlobalEventLoopThread"  # of Prefect, for sending log lines and events


class RunLogHandler(APILogHandler):
    """Send log lines to Prefect, if they are logged within a run.

    They may have names in them. What is escaped here is escaped for the handlers that follow too:
    Prefect's own handler prints the lines of a worker's runs on its terminal.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable_lines(record.getMessage()), None
        return FlowRunContext.get() is not None and bool(super().filter(record))


def show_stage_logs() -> None:
    """Send what the stages log to the pages of their runs."""
    STAGES.setLevel(logging.INFO)
    if not STAGES.handlers:
        STAGES.addHandler(RunLogHandler())
    for logger in (STAGES, *map(logging.getLogger, PREFECT)):
        for handler in logger.handlers:
            handler.addFilter(is_not_of_transport)


def is_not_of_transport(record: logging.LogRecord) -> bool:
    """Return whether a line is about anything else than the sending of log lines.

    Prefect sends lines from a thread of its own, and starts it with the first line, while it holds
    the lock of its handler. If the thread then logs a line through the same handler, as asyncio
    does at DEBUG, both wait for each other for ever. This is checked before the lock is taken.
    """
    return record.threadName != TRANSPORT_THREAD
