import logging

from tasks.results.run_log import RunLogHandler


def test_names_in_log_lines_are_escaped_for_all_handlers() -> None:
    record = logging.LogRecord(
        "tasks.report", logging.WARNING, "", 0, "%s: failed", ("\x1b[2J\udcff.mp4",), None
    )
    RunLogHandler().filter(record)
    assert record.getMessage() == "\\x1b[2J\\udcff.mp4: failed"
