import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.results.run_log import RunLogHandler


def test_names_in_log_lines_are_escaped_for_all_handlers() -> None:
    record = logging.LogRecord(
        "tasks.report", logging.WARNING, "", 0, "%s: failed", ("\x1b[2J\udcff.mp4",), None
    )
    RunLogHandler().filter(record)
    assert record.getMessage() == "\\x1b[2J\\udcff.mp4: failed"


FLOW = """
from prefect import flow
from tasks.results.run_log import show_stage_logs

show_stage_logs()

@flow
def log_a_line():
    return "ended"

print(log_a_line())
"""


@pytest.mark.usefixtures("prefect_server")
def test_a_run_ends_although_asyncio_and_httpx_log_to_prefect_at_debug(tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    script.write_text(FLOW)
    loggers = {
        "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "azure,aiohttp,httpx,tasks,asyncio",
    }
    ended = subprocess.run(
        [sys.executable, script],
        env=os.environ | loggers,
        capture_output=True,
        text=True,
        timeout=150,  # without the filter, it never ends
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "ended\n"), ended.stderr
