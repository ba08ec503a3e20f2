"""The Prefect server that a command uses: which one is set, if any, and whether it answers."""

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flows.signals import held_signals
from tasks.errors import ConvertError

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
    """Use what the environment or the user's profile names. Returns its URL; empty: none."""
    spare_authorities(os.environ.get("PREFECT_API_URL", ""))
    url = api_settings().url or ""
    if url and "PREFECT_API_URL" not in os.environ:
        use_prefect_api(url)
    return url


def api_settings() -> "APISettings":
    with held_signals():
        from prefect.settings import get_current_settings

        return get_current_settings().api


def check_prefect_api() -> None:
    """Make sure that somebody answers at the user's own Prefect server.

    Raises:
        ConvertError: nobody does.
    """
    import httpx

    api = api_settings()
    try:
        httpx.get(f"{api.url}/health", timeout=ANSWER_SECONDS, verify=trust(api))
    except httpx.HTTPError:
        raise ConvertError(
            f"Prefect's server at {api.url} does not answer.",
            "Start it with `prefect server start`; or let each run have one of its own, with"
            " `prefect config unset PREFECT_API_URL` or without that variable.",
        ) from None


def trust(api: "APISettings") -> ssl.SSLContext | bool:
    """Whom Prefect's own clients would trust; over plain HTTP nobody need be."""
    if not str(api.url).startswith("https:") or api.tls_insecure_skip_verify:
        return False
    return ssl.create_default_context(cafile=api.ssl_cert_file) if api.ssl_cert_file else True


def use_prefect_api(url: str) -> None:
    os.environ["PREFECT_API_URL"] = url
    spare_authorities(url)
    with held_signals():
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def spare_authorities(url: str) -> None:
    """Let Prefect's clients trust nobody where they speak no TLS: over HTTP, on this machine.

    Each of the six that a run makes would read all of 140 authorities: a tenth of a short run.
    """
    parts = urlsplit(url)
    if (parts.scheme, parts.hostname in LOOPBACK) == ("http", True):
        os.environ.setdefault("PREFECT_API_SSL_CERT_FILE", str(NOBODY))
