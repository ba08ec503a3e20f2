"""Where a Prefect server may be named: seen without Prefect, so that our own can start first."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_API_URL,
    temporary_settings,
)
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from deployments.local.certificate import Certificate, make_certificate
from flows.prefect_api import NOBODY, check_prefect_api, spare_authorities
from servers import served
from tasks.errors import ConvertError

URL = "http://127.0.0.1:9/api"
ASK = """
from flows.prefect_api import adopt_prefect_api, may_have_prefect_api
print(may_have_prefect_api(), bool(adopt_prefect_api()))
"""


def looks(folder: Path, **environment: str) -> str:
    """What the look says, and what Prefect says, in a process that starts in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    home = {"PREFECT_HOME": str(folder / "home")}
    asked = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=folder,
        env=kept | home | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return asked.stdout.strip()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("home/profiles.toml", f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{URL}"\n'),
        ("prefect.toml", f'api.url = "{URL}"\n'),
        ("pyproject.toml", f'[tool.prefect.api]\nurl = "{URL}"\n'),
        (".env", f"PREFECT_API_URL={URL}\n"),
    ],
)
def test_a_server_that_a_file_names_is_seen(tmp_path: Path, place: str, words: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text(words)
    assert looks(tmp_path) == "True True"


def test_a_server_that_the_environment_names_is_seen(tmp_path: Path) -> None:
    assert looks(tmp_path, PREFECT_API_URL=URL) == "True True"


def test_where_nothing_names_a_server_none_is_suspected(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["prefect"]\n')
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "profiles.toml").write_text('active = "a"\n[profiles.a]\n')
    assert looks(tmp_path) == "False False"


def answers(status: int) -> Starlette:
    """A server that answers so, wherever it is asked."""
    answer = Response(status_code=status, headers={"Location": "https://127.0.0.1:1/api/health"})
    return Starlette(routes=[Route("/api/health", lambda _: answer)])


@pytest.mark.parametrize(("status", "spared"), [(200, True), (307, False), (401, False)])
def test_authorities_are_spared_where_a_server_answers_without_tls(
    environment: dict[str, str],
    status: int,
    spared: bool,  # noqa: FBT001  a table
) -> None:
    with served(answers(status)) as port:
        spare_authorities(f"http://127.0.0.1:{port}/api")
    assert environment.get("PREFECT_API_SSL_CERT_FILE") == (str(NOBODY) if spared else None)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:9/api",
        "http://127.0.0.1:9/api",
        "http://prefect.example:4200/api",
        "https://api.prefect.cloud/api/accounts/a",
        "http://[::1/api",
        "",
    ],
)
def test_no_authorities_are_spared_elsewhere(environment: dict[str, str], url: str) -> None:
    spare_authorities(url)
    assert "PREFECT_API_SSL_CERT_FILE" not in environment


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process's, which is as it was after the test."""
    names = {name: value for name, value in os.environ.items() if "SSL_CERT" not in name}
    monkeypatch.setattr(os, "environ", names)
    return names


def test_authorities_that_the_user_names_stay(environment: dict[str, str]) -> None:
    environment["PREFECT_API_SSL_CERT_FILE"] = "mine.pem"
    with served(answers(200)) as port:
        spare_authorities(f"http://127.0.0.1:{port}/api")
    assert environment["PREFECT_API_SSL_CERT_FILE"] == "mine.pem"


def test_who_trusts_nobody_has_one_authority_that_has_ended() -> None:
    (nobody,) = ssl.create_default_context(cafile=NOBODY).get_ca_certs()
    ended = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(nobody["notAfter"])), UTC)
    assert ended < datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), now=datetime.now(UTC))


@pytest.fixture(scope="module")
def server(certificate: Certificate) -> Iterator[str]:
    """The URL of one that speaks TLS, with a certificate of its own."""
    files = {"ssl_certfile": str(certificate.chain), "ssl_keyfile": str(certificate.key)}
    with served(Starlette(), **files) as port:
        yield f"https://127.0.0.1:{port}/api"


def test_a_server_is_trusted_by_the_authorities_that_prefect_is_told(
    server: str, certificate: Certificate
) -> None:
    bundle = {PREFECT_API_URL: server, PREFECT_API_SSL_CERT_FILE: str(certificate.bundle)}
    with temporary_settings(bundle):
        check_prefect_api()


def test_a_server_is_trusted_where_prefect_is_told_not_to_verify(server: str) -> None:
    with temporary_settings({PREFECT_API_URL: server, PREFECT_API_TLS_INSECURE_SKIP_VERIFY: True}):
        check_prefect_api()


def test_a_server_that_nobody_vouches_for_does_not_answer(server: str) -> None:
    for url in (server, server.replace("https", "HTTPS")):
        with (
            temporary_settings({PREFECT_API_URL: url, PREFECT_API_SSL_CERT_FILE: str(NOBODY)}),
            pytest.raises(ConvertError, match="does not answer"),
        ):
            check_prefect_api()


def test_a_file_of_authorities_that_cannot_be_read_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("none.pem", "empty.pem"):
        settings = {PREFECT_API_URL: server, PREFECT_API_SSL_CERT_FILE: str(tmp_path / name)}
        with temporary_settings(settings), pytest.raises(ConvertError, match=name):
            check_prefect_api()
