"""The commands as processes of their own, and what they say."""

import sys
from pathlib import Path
from typing import IO

CONVERT = [sys.executable, str(Path(__file__).parents[2] / "flows" / "convert.py")]


def read_until(stream: IO[str] | None, mark: str) -> str:
    assert stream
    lines = []
    for line in stream:
        lines.append(line)
        if mark in line:
            return "".join(lines)
    raise AssertionError(f"{mark!r} was never said: {''.join(lines)}")
