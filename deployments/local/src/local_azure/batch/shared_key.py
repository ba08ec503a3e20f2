"""Shared-key signatures, as Azure Batch defines them."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs

from local_azure.batch.error_codes import BatchError

SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
TOLERATED_AGE = timedelta(minutes=15)
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def string_to_sign(
    *, method: str, account: str, raw_path: str, query: str, headers: Mapping[str, str]
) -> str:
    """Return what the client signs. Header names are in lower case, `raw_path` as received."""
    values = {name: headers.get(name, "") for name in SIGNED_HEADERS}
    # Azure signs the length as received, so also none: azure-sdk-for-net #3170, #4602, PR #3206.
    if method in WITH_BODY:
        values["content-length"] = values["content-length"] or "0"
    ocp = sorted((n, v) for n, v in headers.items() if n.startswith("ocp-") and v)
    parameters = parse_qs(query)
    return (
        f"{method}\n"
        + "".join(f"{values[name]}\n" for name in SIGNED_HEADERS)
        + "".join(f"{name}:{value}\n" for name, value in ocp)
        + f"/{account}{raw_path}"
        + "".join(f"\n{name}:{parameters[name][0]}" for name in sorted(parameters))
    )


def sign(text: str, key: bytes) -> str:
    return base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()


def verify(  # noqa: PLR0913  the parts of a request
    *,
    method: str,
    raw_path: str,
    query: str,
    headers: Mapping[str, str],
    account: str,
    key: bytes,
    now: datetime,
) -> None:
    """Check the signature and the age of a request.

    Raises:
        BatchError: AuthenticationFailed, with the reason.
    """
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    name, _, signature = credential.partition(":")
    if scheme != "SharedKey" or name != account:
        raise denied(f"The Authorization header must be 'SharedKey {account}:<signature>'")
    _check_date(headers.get("ocp-date") or headers.get("date", ""), now)
    expected = sign(
        string_to_sign(
            method=method, account=account, raw_path=raw_path, query=query, headers=headers
        ),
        key,
    )
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        raise denied("The signature does not match the request. Check the account's key")


def _check_date(text: str, now: datetime) -> None:
    try:
        sent = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        raise denied("The ocp-date header is missing or not an RFC 1123 date") from None
    if abs(now - (sent if sent.tzinfo else sent.replace(tzinfo=UTC))) > TOLERATED_AGE:
        raise denied("The request's date is more than 15 minutes off. Check the clock")


def denied(detail: str) -> BatchError:
    return BatchError("AuthenticationFailed", AuthenticationErrorDetail=detail)
