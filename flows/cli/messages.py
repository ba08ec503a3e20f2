"""Messages of the commands on standard error."""

import sys

from tasks.results.text import printable_lines


def say(message: str) -> None:
    """Print a message with escaped control characters: names in it may have some."""
    print(printable_lines(message), file=sys.stderr)  # noqa: T201  the only place that prints
