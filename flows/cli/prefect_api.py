"""The Prefect server that a command uses: which one is set, if any, and whether it answers."""

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

NOBODY = Path(__file__).with_name("nobody.pem")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANSWER_SECONDS = 10


def may_have_prefect_api() -> bool:
    """Whether some place may name a Prefect server; to look there takes no import of Prefect."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml")
    signs = {profiles: "PREFECT_API_URL", "prefect.toml": "", "pyproject.toml": "tool.prefect"}
    return "PREFECT_API_URL" in os.environ or any(
        Path(file).is_file() and sign in Path(file).read_text(errors="replace")
        for file, sign in (signs | {".env": "PREFECT_"}).items()
    )


def adopt_prefect_api() -> str:
    """Use the server that is set for Prefect, wherever. Returns its URL; empty: none is.

    Raises:
        SettingsError: nobody answers at it, or it is no URL.
    """
    named = os.environ.get("PREFECT_API_URL", "")
    if named:
        check_url(named)
    if speaks_plainly(named):
        spare_authorities()
        return named
    url = api_settings().url or ""
    if not named and speaks_plainly(url):
        use_plain_api(url)
    elif url:
        check_prefect_api()
    return url


def api_settings() -> "APISettings":
    with held_signals():
        from prefect.settings import get_current_settings

        return get_current_settings().api


def check_prefect_api() -> None:
    """Make sure that somebody answers at the user's own Prefect server.

    Raises:
        SettingsError: nobody does, or it is not said rightly how to ask.
    """
    import httpx

    api = api_settings()
    check_url(str(api.url))
    try:
        httpx.get(f"{api.url}/health", timeout=ANSWER_SECONDS, verify=trust(api))
    except (httpx.HTTPError, httpx.InvalidURL):
        raise SettingsError(
            f"Prefect's server at {api.url} does not answer.",
            "Start it with `prefect server start`; or let each run have one of its own, with"
            " `prefect config unset PREFECT_API_URL` or without that variable.",
        ) from None


def check_url(url: str) -> None:
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise SettingsError(
            f"PREFECT_API_URL is {url!r}, not a URL.",
            "It must be one such as http://127.0.0.1:4200/api.",
        )


def trust(api: "APISettings") -> ssl.SSLContext | bool:
    """Whom Prefect's own clients would trust; over plain HTTP nobody need be.

    Raises:
        SettingsError: the file of authorities that is set for Prefect cannot be read.
    """
    if urlsplit(str(api.url)).scheme == "http" or api.tls_insecure_skip_verify:
        return False
    try:
        return ssl.create_default_context(cafile=api.ssl_cert_file) if api.ssl_cert_file else True
    except OSError as error:  # what ssl raises is one, too
        raise SettingsError(
            f"The certificates in {api.ssl_cert_file} cannot be read: {error.strerror or error}.",
            "PREFECT_API_SSL_CERT_FILE must name a file of authorities, in PEM.",
        ) from None


def use_plain_api(url: str) -> None:
    """Use the server at the URL, which speaks plainly."""
    os.environ["PREFECT_API_URL"] = url
    spare_authorities()
    with held_signals():
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def spare_authorities() -> None:
    """Let Prefect's clients trust nobody: where they will speak no TLS.

    Each of the six that a run makes would read all of 140 authorities: a tenth of a short run.
    """
    os.environ.setdefault("PREFECT_API_SSL_CERT_FILE", str(NOBODY))


def speaks_plainly(url: str) -> bool:
    """Whether a server on this machine answers over HTTP by itself, and leads nowhere else."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK:
            return False
        connection = HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_SECONDS)
        with closing(connection):
            connection.request("GET", f"{parts.path}/health")
            return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException, ValueError):
        return False
