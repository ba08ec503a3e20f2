"""The first thing that a command does: until anything is begun, a signal ends it in one line.

Python is busy with imports for seconds, and would answer Ctrl-C with a traceback of them. They go
without a look for garbage, of which they make none.
"""

import gc
import os
import signal
from types import FrameType

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def start() -> None:
    gc.disable()  # until all is imported: a fifth of that time went into looking for garbage
    for number in WORDS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as for what a shell runs beside itself
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  as signal calls it
    os.write(2, f"error: {WORDS[signal.Signals(number)]}. Nothing was begun.\n".encode())
    os._exit(128 + number)
