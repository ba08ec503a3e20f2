"""What runner.sh states on a node: in the names of its marker files, and in lines on stderr."""

import re
from dataclasses import dataclass

REASON_PREFIX = "runner: "
VERSION_PREFIX = "runner-version: "
VERSION = re.compile(rf"^{VERSION_PREFIX}lavf ([\w.+-]{{1,40}})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Marker:
    """The values in a name such as `seconds-7.013_lavf-59.27.100`."""

    seconds: float | None  # written to the output
    ffmpeg_version: str  # of libavformat; "": unknown


def read_marker(name: str) -> Marker:
    """Return what the name of a file states. A node wrote it, so any part may be missing."""
    words = dict(word.split("-", 1) for word in name.split("_") if "-" in word)
    seconds, version = words.get("seconds", ""), words.get("lavf", "")
    is_number = re.fullmatch(r"\d{1,9}(\.\d{1,9})?", seconds, re.ASCII)
    return Marker(float(seconds) if is_number else None, version[:40])


def printed_version(tail: str) -> str:
    """Return the version of libavformat that a failed batch task printed, or an empty string."""
    found = VERSION.search(tail)
    return found[1] if found else ""
