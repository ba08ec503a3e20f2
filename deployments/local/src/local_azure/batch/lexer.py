"""Texts cut into tokens, for the small languages that requests are written in."""

import re

Token = tuple[str, str]
"""The name of the pattern's group that matched, and the text."""


def tokens(text: str, pattern: re.Pattern[str]) -> list[Token]:
    """Raises ValueError where no group of the pattern matches."""
    text, found, position = text.rstrip(), list[Token](), 0
    while position < len(text):
        match = pattern.match(text, position)
        if not match:
            raise ValueError(f"{text[position : position + 20]!r} is not understood")
        found.append((str(match.lastgroup), match.group(str(match.lastgroup))))
        position = match.end()
    return found
