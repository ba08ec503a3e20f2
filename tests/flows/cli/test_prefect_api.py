"""The Prefect server that a command uses: where it is configured, and whom its clients trust."""

import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
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
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.cli.prefect_api import NO_AUTHORITIES, check_prefect_api, responds_over_http
from local_azure.certificate import Certificate, make_certificate
from servers import served
from tasks.errors import SettingsError

URL = "http://127.0.0.1:9/api"
SSL = "PREFECT_API_SSL_CERT_FILE"
ADOPT = f"""
import os
from flows.cli.prefect_api import adopt_prefect_api
url = adopt_prefect_api()
print(url, os.environ.get("{SSL}"))
"""


def adopt(folder: Path, **environment: str) -> str:
    """Adopt a server in a process that starts in this folder; return what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    home = {"PREFECT_HOME": str(folder / "home")}
    asked = subprocess.run(
        [sys.executable, "-c", ADOPT],
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
        ("home/profiles.toml", 'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{}"\n'),
        ("prefect.toml", 'api.url = "{}"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "{}"\n'),
        (".env", "PREFECT_API_URL={}\n"),
    ],
)
def test_a_server_that_a_file_names_is_used(tmp_path: Path, place: str, words: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    with served(responding(200, [])) as port:
        url = f"http://127.0.0.1:{port}/api"
        file.write_text(words.format(url))
        assert adopt(tmp_path) == f"{url} {NO_AUTHORITIES}"


def test_without_a_configured_server_none_is_used(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["prefect"]\n')
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "profiles.toml").write_text('active = "a"\n[profiles.a]\n')
    assert adopt(tmp_path) == "None"


def responding(status: int, asked: list[str]) -> Starlette:
    """Return a server that responds with this status, and records the paths of requests."""
    location = {"Location": "https://127.0.0.1:1/api/health"}

    def answer(request: Request) -> Response:
        asked.append(request.url.path)
        return Response(status_code=status, headers=location)

    return Starlette(routes=[Route("/{path:path}", answer)])


@pytest.mark.parametrize(("status", "expected"), [(200, True), (307, False), (401, False)])
def test_a_server_responds_over_http_that_answers_without_tls(
    status: int,
    expected: bool,  # noqa: FBT001  a table
) -> None:
    with served(responding(status, [])) as port:
        assert responds_over_http(f"http://127.0.0.1:{port}/api") == expected


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
def test_no_server_responds_over_http_elsewhere(url: str) -> None:
    assert not responds_over_http(url)


def in_environment(url: str, _folder: Path) -> dict[str, str]:
    return {"PREFECT_API_URL": url}


def in_profile(url: str, folder: Path) -> dict[str, str]:
    (folder / "home").mkdir()
    words = f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{url}"\n'
    (folder / "home" / "profiles.toml").write_text(words)
    return {}


@pytest.mark.parametrize("name", [in_environment, in_profile])
@pytest.mark.parametrize(
    ("given", "trusted"),
    [({}, str(NO_AUTHORITIES)), ({SSL: "mine.pem"}, "mine.pem")],
    ids=["", "mine"],
)
def test_a_server_that_responds_over_http_is_asked_once_and_needs_no_authorities(
    tmp_path: Path,
    name: Callable[[str, Path], dict[str, str]],
    given: dict[str, str],
    trusted: str,
) -> None:
    asked: list[str] = []
    with served(responding(200, asked)) as port:
        url = f"http://127.0.0.1:{port}/api"
        said = adopt(tmp_path, **name(url, tmp_path), **given)
    assert said == f"{url} {trusted}"
    assert asked == ["/api/health"]


@pytest.mark.parametrize("name", [in_environment, in_profile])
def test_the_authorities_stay_if_a_server_redirects(
    tmp_path: Path, name: Callable[[str, Path], dict[str, str]]
) -> None:
    with served(responding(307, [])) as port:
        url = f"http://127.0.0.1:{port}/api"
        assert adopt(tmp_path, **name(url, tmp_path)) == f"{url} None"


@pytest.mark.parametrize("name", [in_environment, in_profile])
def test_the_authorities_stay_if_a_server_uses_tls(
    tmp_path: Path, name: Callable[[str, Path], dict[str, str]], server: str
) -> None:
    given = name(server, tmp_path) | {"PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true"}
    assert adopt(tmp_path, **given) == f"{server} None"


@pytest.mark.parametrize("name", [in_environment, in_profile])
def test_the_error_names_a_server_that_does_not_respond(
    tmp_path: Path, name: Callable[[str, Path], dict[str, str]]
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        adopt(tmp_path, **name(URL, tmp_path))
    assert f"The Prefect server at {URL} does not respond" in refused.value.stderr


def test_the_file_of_no_authorities_has_one_that_expired() -> None:
    (expired,) = ssl.create_default_context(cafile=NO_AUTHORITIES).get_ca_certs()
    ended = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(expired["notAfter"])), UTC)
    assert ended < datetime(2001, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), now=datetime.now(UTC))


@pytest.fixture(scope="module")
def server(certificate: Certificate) -> Iterator[str]:
    """Yield the URL of a server that uses TLS, with its own certificate."""
    files = {"ssl_certfile": str(certificate.chain), "ssl_keyfile": str(certificate.key)}
    with served(Starlette(), **files) as port:
        yield f"https://127.0.0.1:{port}/api"


def test_a_server_is_trusted_by_the_authorities_in_prefects_settings(
    server: str, certificate: Certificate
) -> None:
    bundle = {PREFECT_API_URL: server, PREFECT_API_SSL_CERT_FILE: str(certificate.bundle)}
    with temporary_settings(bundle):
        check_prefect_api()


def test_a_server_is_trusted_if_prefects_settings_skip_verification(server: str) -> None:
    with temporary_settings({PREFECT_API_URL: server, PREFECT_API_TLS_INSECURE_SKIP_VERIFY: True}):
        check_prefect_api()


def test_a_server_without_a_trusted_certificate_does_not_respond(server: str) -> None:
    for url in (server, server.replace("https", "HTTPS")):
        with (
            temporary_settings(
                {PREFECT_API_URL: url, PREFECT_API_SSL_CERT_FILE: str(NO_AUTHORITIES)}
            ),
            pytest.raises(SettingsError, match="does not respond"),
        ):
            check_prefect_api()


def test_the_error_names_a_file_of_authorities_that_cannot_be_read(
    server: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("none.pem", "empty.pem"):
        settings = {PREFECT_API_URL: server, PREFECT_API_SSL_CERT_FILE: str(tmp_path / name)}
        with temporary_settings(settings), pytest.raises(SettingsError, match=name):
            check_prefect_api()
