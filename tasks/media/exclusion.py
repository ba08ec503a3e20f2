"""Patterns that leave sources out. They are shell globs, and `**` stands for any folders."""

import logging
import os
import re
from collections.abc import Iterable, Sequence

from tasks.errors import UsageError
from tasks.media.addresses import AZURE
from tasks.models import Source

TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|.", re.DOTALL)
WILDCARDS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
logger = logging.getLogger(__name__)


def without_excluded(sources: Iterable[Source], patterns: Sequence[str]) -> list[Source]:
    """Return the sources that no pattern matches. Log each pattern that matches none.

    Raises:
        UsageError: No source is left.
    """
    kept = list(sources)
    for pattern in patterns:
        found = Exclusion(pattern)
        left = [source for source in kept if not found.matches(source)]
        if len(left) == len(kept):
            logger.warning("--exclude %r leaves out no further source.", pattern)
        kept = left
    if patterns and not kept:
        raise UsageError("--exclude leaves out all sources.", "Use narrower patterns.")
    return kept


class Exclusion:
    """One pattern. Without a slash it is compared with names of files, otherwise with paths.

    A path is that below the named source, or the whole path or address.
    """

    def __init__(self, pattern: str) -> None:
        self._is_name = "/" not in pattern
        self._glob = glob_pattern(pattern)
        self._full = self._glob if pattern.startswith(AZURE) else glob_pattern(absolute(pattern))

    def matches(self, source: Source) -> bool:
        if self._is_name:
            return self._glob.fullmatch(source.name.rpartition("/")[2]) is not None
        whole = self._full.fullmatch(source.location)
        return (whole or self._glob.fullmatch(source.name)) is not None


def absolute(pattern: str) -> str:
    return os.path.abspath(os.path.expanduser(pattern))  # noqa: PTH100, PTH111  paths are text


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """Translate a shell glob. Only `**` matches slashes."""
    parts = (WILDCARDS.get(token) or translate(token) for token in TOKEN.findall(pattern))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:
        raise UsageError(
            f"--exclude {pattern!r} is not a valid glob: a range such as [z-a] is empty.",
            "Correct the range.",
        ) from None


def translate(token: str) -> str:
    """Translate a set such as `[a-c]` or `[!a-c]`, or one plain character."""
    if len(token) == 1:
        return re.escape(token)
    inner = token[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
    is_negated = inner.startswith("!")
    chosen = inner.removeprefix("!").replace("]", "\\]")
    return f"(?!/)[{'^' if is_negated else ''}{chosen}]"
