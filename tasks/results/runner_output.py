"""What runner.sh prints on a node about a conversion that failed."""

import re

REASON_PREFIX = "runner: "
VERSION_PREFIX = "runner-version: "
VERSION = re.compile(rf"^{VERSION_PREFIX}lavf ([\w.+-]{{1,40}})$", re.MULTILINE)


def printed_version(tail: str) -> str:
    """Return the version of libavformat that a failed batch task printed, or an empty string."""
    found = VERSION.search(tail)
    return found[1] if found else ""
