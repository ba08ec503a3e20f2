"""The log lines of the stages, on the run's page in Prefect."""

import logging

from prefect.context import FlowRunContext
from prefect.logging.handlers import APILogHandler

STAGES = logging.getLogger("tasks")


class RunLogHandler(APILogHandler):
    """Send log lines to Prefect, if they are logged within a run."""

    def filter(self, record: logging.LogRecord) -> bool:
        return FlowRunContext.get() is not None and bool(super().filter(record))


def show_stage_logs() -> None:
    """Send what the stages log to the pages of their runs."""
    STAGES.setLevel(logging.INFO)
    if not STAGES.handlers:
        STAGES.addHandler(RunLogHandler())
