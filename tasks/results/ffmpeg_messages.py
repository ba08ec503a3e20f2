"""Which messages of ffmpeg a reason quotes: those about the source, not about how ffmpeg is run."""

import re
from collections.abc import Iterable, Iterator

_CONTEXT = re.compile(r"\[[^]]* @ 0x[0-9a-f]+\] ?")  # a memory address has no meaning here
_REWORDED = (
    (re.compile(r".*Format not on whitelist.*"), "this format is not supported"),
    (re.compile(r".*Protocol .*not on whitelist.*"), "it refers to another file or address"),
    (re.compile(r".*exceeds specified max pixel count.*"), "its pictures are too large"),
    (re.compile(r"moov atom not found"), "its index (moov) is missing"),
    (re.compile(r"file:input\b"), "the source"),
    (re.compile(r"file:output[.\w]*"), "the output"),
)
_LEFT_OUT = tuple(
    re.compile(pattern)
    for pattern in (
        # what runner.sh sets: options, filters and which streams to map
        r"\b[Oo]ptions?\b|whitelist|analyzeduration|probesize|max_\w+|dts_delta_threshold",
        r"filter(?!:)|asetpts|aresample|aformat|Stream map '|^Error parsing|^Error splitting",
        r"^Unknown function in|^Missing '|^Failed to set value",
        # advice to a person who types the command
        r"maybe incorrect parameters|^To ignore this|^Consider |\(check -|^Use -",
        # what follows from an error, and what is none
        r"^Error opening (?:input|output) files?\b|^Error sending frames|^Conversion failed",
        r"^Task finished with|^Terminating thread|before EOF|^Nothing was written",
        r"^Output file is empty|^Decode error rate|^Last message repeated",
        r"^Guessed Channel Layout|^Estimating duration|^Multiple -",
    )
)


def quotable(lines: Iterable[str], *, most: int) -> list[str]:
    """Return the last different messages that a reader without the command understands."""
    return list(dict.fromkeys(_messages(lines)))[-most:]


def _messages(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        message = _CONTEXT.sub("", line).strip()
        for pattern, words in _REWORDED:
            message = pattern.sub(words, message)
        if message and not any(pattern.search(message) for pattern in _LEFT_OUT):
            yield message
