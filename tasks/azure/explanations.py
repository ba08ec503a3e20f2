"""Azure's explanations of errors: codes, messages and details. They are shown without secrets.

Errors of requests, tasks, nodes, resizes and formulas have the same format, except for the name of
the list of details.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

DETAILS = ("values", "details", "errorDetails")
LONGEST_VALUE = 500  # characters
Value = TypeVar("Value")
# The query of a URL may be a SAS token. A signature can also stand alone, or be encoded.
QUERY = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*", re.IGNORECASE)
SIGNATURE = re.compile(r"(?<![a-z])(sig(?:nature)?(?:=|%3D))[^\s&\"'<>]+", re.IGNORECASE)


def is_code(code: str | None, *names: str) -> bool:
    """Return whether a code is one of these, in any case.

    Azure spells `AllocationTimedout` in answers and `AllocationTimedOut` in its SDKs.
    """
    return (code or "").lower() in {name.lower() for name in names}


def is_quota_error(code: str) -> bool:
    return code.lower().endswith("quotareached")


def of_code(table: Mapping[str, Value], code: str | None) -> Value | None:
    """Return the value of a code in a table of codes, in any case, or None."""
    return next((value for name, value in table.items() if is_code(code, name)), None)


def explanation(error: Mapping[str, Any], *, default: str = "no reason given") -> str:
    """Return the code, the message and the details of an error of Batch.

    Args:
        error: The error in Batch's JSON format, or a model of the SDK.
        default: The text for an error without a code and a message.
    """
    texts = filter(None, (error.get("code"), message_of(error)))
    details = details_of(error)
    return (": ".join(texts) or default) + (f" ({details})" if details else "")


def message_of(error: Mapping[str, Any]) -> str:
    """Return the first line of the message. The others name the request and the time."""
    message = error.get("message") or ""
    text = message if isinstance(message, str) else message.get("value") or ""
    return quoted(text.partition("\n")[0].strip().rstrip("."))


def details_of(error: Mapping[str, Any]) -> str:
    """Return the details that say more than the message, such as "FilePath: a, Reason: b"."""
    listed = next(filter(None, (error.get(name) for name in DETAILS)), ())
    pairs = ((each.get("name") or each.get("key"), each.get("value")) for each in listed)
    message = message_of(error)
    return join_details((n, v) for n, v in pairs if quoted(str(v)).rstrip(".") != message)


def join_details(pairs: Iterable[tuple[Any, Any]]) -> str:
    return ", ".join(f"{name}: {quoted(str(value))}" for name, value in pairs if value)


def quoted(text: str) -> str:
    """Return a text of Azure in one line, without SAS tokens."""
    line = " ".join(SIGNATURE.sub(r"\1…", QUERY.sub(r"\1", text)).split())
    return line if len(line) <= LONGEST_VALUE else f"{line[:LONGEST_VALUE]}…"
