"""The log lines of the stages, on the run's page in Prefect."""

import logging

from prefect.context import FlowRunContext
from prefect.logging.handlers import APILogHandler

from tasks.results.text import printable_lines

STAGES = logging.getLogger("tasks")


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
