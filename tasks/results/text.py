"""Names, counts and times in a form for people."""

import unicodedata
from collections.abc import Sequence

from rich.filesize import decimal

from tasks.models import FileResult


def printable(text: str) -> str:
    """Return a text in one line, with what could move the cursor or reverse the text escaped.

    These are control characters, line breaks, invalid bytes, and invisible characters.
    """
    if text.isprintable():
        return text
    return "".join(map(_printable_character, text))


def _printable_character(char: str) -> str:
    is_plain = char.isprintable() or unicodedata.category(char) == "Zs"  # spaces of any width
    return char if is_plain else repr(char)[1:-1]


def printable_lines(text: str) -> str:
    """Return the same for a text of several lines. An indent shows that they belong together."""
    first, *rest = (printable(line.expandtabs()) for line in text.split("\n"))
    return "\n".join([first, *(line if line.startswith(" ") else f"  {line}" for line in rest)])


def labels(files: Sequence[FileResult]) -> list[str]:
    """Return the name of each source, or its path if another source here has the same name."""
    first: dict[str, str] = {}
    shared = {f.source for f in files if first.setdefault(f.source, f.path) != f.path}
    return [file.path if file.source in shared else file.source for file in files]


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as "1 file" or "2 files"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def uploaded(sent_bytes: int, source_bytes: int) -> str:
    """Return what was uploaded, and for how much if that is another number."""
    sent = decimal(sent_bytes)
    return sent if sent_bytes == source_bytes else f"{sent} for {decimal(source_bytes)} of sources"


def format_clock(seconds: float) -> str:
    """Return a duration such as "0:07" or "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
