"""The examples of docs/prefect.md, which tests run."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "prefect.md"


def code_of(name: str) -> str:
    """Return the block of code below a comment with this name."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, name
    return found[1]


def lines_of(name: str, *, start: str) -> list[str]:
    """Return the lines of an example that begin with `start`, without it."""
    lines = code_of(name).splitlines()
    return [line.removeprefix(start) for line in lines if line.startswith(start)]
