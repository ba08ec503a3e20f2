"""A lexer for autoscale formulas and filters."""

import re

Token = tuple[str, str]
"""The name of the matching group of the pattern, and the text."""


def tokens(text: str, pattern: re.Pattern[str]) -> list[Token]:
    """Split the text into tokens.

    Raises:
        ValueError: No group of the pattern matches a part of the text.
    """
    text, found, position = text.rstrip(), list[Token](), 0
    while position < len(text):
        match = pattern.match(text, position)
        if not match:
            raise ValueError(f"{text[position : position + 20]!r} cannot be parsed")
        found.append((str(match.lastgroup), match.group(str(match.lastgroup))))
        position = match.end()
    return found
