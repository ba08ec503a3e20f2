"""Shared-key signatures and their dates."""

import base64
import contextlib
import http.client
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.core.exceptions import HttpResponseError

from lab import Lab
from local_azure.batch import shared_key
from local_azure.batch.error_codes import BatchError

KEY = b"0123456789"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DATE = "Sun, 22 Nov 2026 12:00:00 GMT"
REQUEST = {
    "method": "POST",
    "raw_path": "/jobs/a%2Fb",
    "query": "api-version=2025-06-01&%24filter=a%20eq%20%27b%27",
    "account": "acc",
}


def signed(**changes: str) -> dict[str, str]:
    headers = {"ocp-date": DATE, "content-type": "application/json", "content-length": "2"}
    headers |= changes
    text = shared_key.string_to_sign(headers=headers, **REQUEST)
    return headers | {"authorization": f"SharedKey acc:{shared_key.sign(text, KEY)}"}


def verify(headers: dict[str, str], **changes: Any) -> None:
    shared_key.verify(**({"headers": headers, "key": KEY, "now": NOW} | REQUEST | changes))


def test_the_signed_text_is_the_one_that_azure_defines() -> None:
    text = shared_key.string_to_sign(headers={"ocp-date": DATE, "content-length": "2"}, **REQUEST)
    expected = (
        "POST\n\n\n2\n\n\n\n\n\n\n\n\nocp-date:" + DATE + "\n"
        "/acc/jobs/a%2Fb\n$filter:a eq 'b'\napi-version:2025-06-01"
    )
    assert text == expected


@pytest.mark.parametrize(
    ("method", "sent", "signed_as"),
    [
        *((method, "0", "0") for method in METHODS),
        *((method, None, "0") for method in ("POST", "PUT", "PATCH")),
        *((method, None, "") for method in ("GET", "HEAD", "DELETE")),
    ],
)
def test_a_bodyless_request_signs_the_length_that_it_sends_or_else_0_if_it_could_have_a_body(
    method: str, sent: str | None, signed_as: str
) -> None:
    for length, is_accepted in (("", signed_as == ""), ("0", signed_as == "0"), ("7", False)):
        headers = {"ocp-date": DATE}
        # Written here, so that the service's own text is not compared with itself.
        text = f"{method}\n\n\n{length}\n" + 8 * "\n" + f"ocp-date:{DATE}\n/acc/jobs/a%2Fb"
        text += "\n$filter:a eq 'b'\napi-version:2025-06-01"
        headers["authorization"] = f"SharedKey acc:{shared_key.sign(text, KEY)}"
        headers |= {} if sent is None else {"content-length": sent}
        with contextlib.nullcontext() if is_accepted else pytest.raises(BatchError):
            verify(headers, method=method)


@pytest.mark.parametrize("sent", [None, "0"])
@pytest.mark.parametrize("method", METHODS)
def test_a_bodyless_request_with_or_without_a_length_is_admitted(
    lab: Lab, method: str, sent: str | None
) -> None:
    headers = {"host": urlsplit(lab.url).netloc, "ocp-date": formatdate(usegmt=True)}
    headers |= {} if sent is None else {"content-length": sent}
    text = shared_key.string_to_sign(
        method=method,
        account=lab.account,
        raw_path="/jobs/none",
        query="api-version=2025-06-01",
        headers=headers,
    )
    headers["authorization"] = (
        f"SharedKey {lab.account}:{shared_key.sign(text, base64.b64decode(lab.key))}"
    )
    connection = http.client.HTTPConnection(headers["host"])
    with contextlib.closing(connection):
        connection.putrequest(
            method, "/jobs/none?api-version=2025-06-01", skip_host=True, skip_accept_encoding=True
        )
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status != 403


def test_a_signed_request_passes() -> None:
    verify(signed())


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"raw_path": "/jobs/c"},
        {"query": "api-version=2024-02-01.19.0"},
        {"account": "other"},
        {"key": b"another"},
        {"now": NOW + timedelta(minutes=16)},
        {"now": NOW - timedelta(minutes=16)},
    ],
)
def test_a_request_changed_after_signing_is_denied(change: dict[str, Any]) -> None:
    with pytest.raises(BatchError, match="AuthenticationFailed"):
        verify(signed(), **change)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": "3"},
        {"content-type": "text/plain"},
        {"ocp-range": "bytes=0-1"},
        {"if-match": "*"},
        {"authorization": ""},
        {"authorization": "Bearer abc"},
        {"authorization": "SharedKey acc:"},
        {"authorization": "SharedKey acc:ÿ"},
    ],
)
def test_a_header_that_was_not_signed_is_denied(headers: dict[str, str]) -> None:
    with pytest.raises(BatchError, match="AuthenticationFailed"):
        verify(signed() | headers)


@pytest.mark.parametrize("date", ["", "now", "Sun, 22 Nov 99999999999999 12:00:00 GMT"])
def test_an_invalid_date_is_denied(date: str) -> None:
    with pytest.raises(BatchError, match="ocp-date"):
        verify(signed(**{"ocp-date": date}))


def test_a_client_with_another_key_or_account_gets_403(lab: Lab) -> None:
    for wrong in ({"key": "AAAA"}, {"account": "other"}):
        with lab.connect(**wrong) as client, pytest.raises(HttpResponseError) as caught:
            client.get_pool("p")
        assert caught.value.status_code == 403
        assert caught.value.error.code == "AuthenticationFailed"
