"""Where a Prefect server may be named: seen without Prefect, so that our own can start first."""

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

from flows.cli.prefect_api import NOBODY, check_prefect_api, speaks_plainly
from local_azure.certificate import Certificate, make_certificate
from servers import served
from tasks.errors import SettingsError

URL = "http://127.0.0.1:9/api"
SSL = "PREFECT_API_SSL_CERT_FILE"
ADOPT = f"""
import os
from flows.cli.prefect_api import adopt_prefect_api
print(adopt_prefect_api(), os.environ.get("{SSL}"))
"""
ASK = """
from flows.cli.prefect_api import api_settings, may_have_prefect_api
print(may_have_prefect_api(), bool(api_settings().url))
"""


def looks(folder: Path, program: str = ASK, **environment: str) -> str:
    """What the program prints, in a process that starts in the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    home = {"PREFECT_HOME": str(folder / "home")}
    asked = subprocess.run(
        [sys.executable, "-c", program],
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


def answers(status: int, asked: list[str]) -> Starlette:
    """A server that answers so, and notes what it was asked."""
    location = {"Location": "https://127.0.0.1:1/api/health"}

    def answer(request: Request) -> Response:
        asked.append(request.url.path)
        return Response(status_code=status, headers=location)

    return Starlette(routes=[Route("/{path:path}", answer)])


@pytest.mark.parametrize(("status", "plain"), [(200, True), (307, False), (401, False)])
def test_a_server_speaks_plainly_that_answers_without_tls(
    status: int,
    plain: bool,  # noqa: FBT001  a table
) -> None:
    with served(answers(status, [])) as port:
        assert speaks_plainly(f"http://127.0.0.1:{port}/api") == plain


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
def test_no_server_speaks_plainly_elsewhere(url: str) -> None:
    assert not speaks_plainly(url)


def in_environment(url: str, _folder: Path) -> dict[str, str]:
    return {"PREFECT_API_URL": url}


def in_profile(url: str, folder: Path) -> dict[str, str]:
    (folder / "home").mkdir()
    words = f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{url}"\n'
    (folder / "home" / "profiles.toml").write_text(words)
    return {}


@pytest.mark.parametrize("name", [in_environment, in_profile])
@pytest.mark.parametrize(
    ("given", "trusted"), [({}, str(NOBODY)), ({SSL: "mine.pem"}, "mine.pem")], ids=["", "mine"]
)
def test_a_server_that_speaks_plainly_is_asked_once_and_needs_no_authorities(
    tmp_path: Path,
    name: Callable[[str, Path], dict[str, str]],
    given: dict[str, str],
    trusted: str,
) -> None:
    asked: list[str] = []
    with served(answers(200, asked)) as port:
        url = f"http://127.0.0.1:{port}/api"
        said = looks(tmp_path, ADOPT, **name(url, tmp_path), **given)
    assert said == f"{url} {trusted}"
    assert asked == ["/api/health"]


@pytest.mark.parametrize("name", [in_environment, in_profile])
def test_the_authorities_stay_where_a_server_may_lead_elsewhere(
    tmp_path: Path, name: Callable[[str, Path], dict[str, str]]
) -> None:
    with served(answers(307, [])) as port:
        url = f"http://127.0.0.1:{port}/api"
        assert looks(tmp_path, ADOPT, **name(url, tmp_path)) == f"{url} None"


@pytest.mark.parametrize("name", [in_environment, in_profile])
def test_the_authorities_stay_where_a_server_speaks_tls(
    tmp_path: Path, name: Callable[[str, Path], dict[str, str]], server: str
) -> None:
    given = name(server, tmp_path) | {"PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true"}
    assert looks(tmp_path, ADOPT, **given) == f"{server} None"


@pytest.mark.parametrize("name", [in_environment, in_profile])
def test_a_server_that_does_not_answer_is_named(
    tmp_path: Path, name: Callable[[str, Path], dict[str, str]]
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        looks(tmp_path, ADOPT, **name(URL, tmp_path))
    assert f"Prefect's server at {URL} does not answer" in refused.value.stderr


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
            pytest.raises(SettingsError, match="does not answer"),
        ):
            check_prefect_api()


def test_a_file_of_authorities_that_cannot_be_read_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("none.pem", "empty.pem"):
        settings = {PREFECT_API_URL: server, PREFECT_API_SSL_CERT_FILE: str(tmp_path / name)}
        with temporary_settings(settings), pytest.raises(SettingsError, match=name):
            check_prefect_api()
