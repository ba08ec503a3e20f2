"""The Prefect server that a command uses: the configured one, if it responds, or one of its own."""

import os
import ssl
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flows.cli.signals import held_signals
from tasks.errors import SettingsError

if TYPE_CHECKING:
    from prefect.settings.models.api import APISettings

NO_AUTHORITIES = Path(__file__).with_name("no_authorities.pem")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
RESPONSE_SECONDS = 10


def adopt_prefect_api() -> str:
    """Use the configured Prefect server. Return its URL, or an empty string if there is none.

    Raises:
        SettingsError: It does not respond, or the URL is malformed.
    """
    named = os.environ.get("PREFECT_API_URL", "")
    if named:
        check_url(named)
    if responds_over_http(named):
        trust_no_authorities()
        return named
    url = api_settings().url or ""
    if not named and responds_over_http(url):
        use_local_api(url)
    elif url:
        check_prefect_api()
    return url


def api_settings() -> "APISettings":
    """Return Prefect's own settings. The import takes 0.8 s."""
    with held_signals():
        from prefect.settings import get_current_settings

        return get_current_settings().api


def check_prefect_api() -> None:
    """Check that the user's own Prefect server responds.

    Raises:
        SettingsError: The server does not respond, or its settings are wrong.
    """
    import httpx

    api = api_settings()
    check_url(str(api.url))
    try:
        httpx.get(f"{api.url}/health", timeout=RESPONSE_SECONDS, verify=authorities(api))
    except (httpx.HTTPError, httpx.InvalidURL):
        raise SettingsError(
            f"The Prefect server at {api.url} does not respond.",
            "Start it with `prefect server start`. Or let each run start its own server:"
            " run `prefect config unset PREFECT_API_URL`, and unset PREFECT_API_URL in the shell.",
        ) from None


def check_url(url: str) -> None:
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise SettingsError(
            f"PREFECT_API_URL is {url!r}, which is not a URL.",
            "Set it to a URL such as http://127.0.0.1:4200/api.",
        )


def authorities(api: "APISettings") -> ssl.SSLContext | bool:
    """Return the authorities that Prefect's clients trust. False: no certificate is verified.

    Raises:
        SettingsError: The file that Prefect's settings name cannot be read.
    """
    if urlsplit(str(api.url)).scheme == "http" or api.tls_insecure_skip_verify:
        return False
    try:
        return ssl.create_default_context(cafile=api.ssl_cert_file) if api.ssl_cert_file else True
    except OSError as error:  # ssl.SSLError is one, too
        raise SettingsError(
            f"The certificates in {api.ssl_cert_file} cannot be read: {error.strerror or error}.",
            "Set PREFECT_API_SSL_CERT_FILE to a PEM file of certificate authorities.",
        ) from None


def use_local_api(url: str) -> None:
    """Use the server at this URL, which responds over HTTP on this machine."""
    os.environ["PREFECT_API_URL"] = url
    trust_no_authorities()
    with held_signals():
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def trust_no_authorities() -> None:
    """Let Prefect's clients load no certificate authorities: they speak HTTP only.

    Each of the six clients of a run would load all 140: a tenth of a short run.
    """
    os.environ.setdefault("PREFECT_API_SSL_CERT_FILE", str(NO_AUTHORITIES))


def responds_over_http(url: str) -> bool:
    """Return whether a server on this machine responds over HTTP, without a redirect."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK:
            return False
        connection = HTTPConnection(parts.hostname, parts.port, timeout=RESPONSE_SECONDS)
        with closing(connection):
            connection.request("GET", f"{parts.path}/health")
            return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException, ValueError):
        return False
