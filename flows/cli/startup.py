"""The first thing that a command does: until it has started anything, a signal ends it in one line.

Python is busy with imports for seconds, and would answer Ctrl-C with a traceback of them. So this
module itself imports little.
"""

import os
import signal
from contextlib import suppress
from types import FrameType

from flows.cli.exit_signals import EXIT_SIGNALS, is_ignored
from flows.cli.garbage import pause_collection


def run_convert() -> None:
    """Run the command `batch-convert`."""
    prepare()
    from flows.cli.command import convert_app, leave, main

    leave(main(convert_app))


def run_sweep() -> None:
    """Run the command `batch-convert-sweep`."""
    prepare()
    from flows.cli.command import leave, main, sweep_app

    leave(main(sweep_app))


def prepare() -> None:
    pause_collection()
    for number in EXIT_SIGNALS:
        if not is_ignored(number):
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  as signal calls it
    message = f"error: {EXIT_SIGNALS[signal.Signals(number)]}. Nothing was started.\n"
    with suppress(OSError):  # the terminal is closed
        os.write(2, message.encode())
    os._exit(128 + number)
