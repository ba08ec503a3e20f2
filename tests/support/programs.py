"""The commands as subprocesses, and what they print."""

import sys
from pathlib import Path
from typing import IO

CONVERT = [sys.executable, str(Path(__file__).parents[2] / "flows" / "convert.py")]


def read_until(stream: IO[str] | None, mark: str) -> str:
    """Return the output up to the line with `mark`.

    Raises:
        AssertionError: The stream ends without such a line.
    """
    assert stream
    lines = []
    for line in stream:
        lines.append(line)
        if mark in line:
            return "".join(lines)
    raise AssertionError(f"{mark!r} was never printed: {''.join(lines)}")
