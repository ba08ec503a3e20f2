"""The installation of Azurite. test_main and test_stack run it."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local_azure.azurite import NO_TELEMETRY, PACKAGE_LOCK, PROGRAM, installed
from local_azure.errors import StackError
from local_azure.nodejs import NodeJs, find_nodejs

INSTALLS = f"mkdir -p {PROGRAM.parent}; cat package-lock.json > {PROGRAM}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty cache folder for the user and one for npm, and return their parent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    return tmp_path


def npm(script: str) -> NodeJs:
    """Return a Node.js with a script in place of npm."""
    return NodeJs(Path("node"), ("/bin/sh", "-c", script))


def test_azurite_is_installed_once_with_a_message(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = installed(npm(INSTALLS))
    assert cache in program.parents
    assert program.read_bytes() == PACKAGE_LOCK.read_bytes()
    assert capsys.readouterr().out.startswith("Installing Azurite 3.37.0 into ")
    assert installed(npm("exit 1")) == program
    assert capsys.readouterr().out == ""


def test_two_simultaneous_installations_install_once(cache: Path) -> None:
    one_only = npm(f"mkdir {cache}/first && sleep 0.2 && {INSTALLS}")
    with ThreadPoolExecutor() as threads:
        programs = set(threads.map(installed, [one_only, one_only]))
    assert all(program.is_file() for program in programs)
    assert len(programs) == 1


def test_an_interrupted_installation_is_started_again(cache: Path) -> None:
    with pytest.raises(StackError):
        installed(npm(f"{INSTALLS}; kill -9 $$"))
    assert not list(cache.rglob("*.js"))
    assert installed(npm(INSTALLS)).is_file()


@pytest.mark.usefixtures("cache")
def test_without_a_registry_the_error_has_the_remedy_and_npms_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(StackError, match=r"~/.npmrc.*npm's output: \S"):
        installed(find_nodejs())


def test_the_lock_file_names_no_host() -> None:
    packages = json.loads(PACKAGE_LOCK.read_bytes())["packages"]
    places = {package["resolved"] for package in packages.values() if "resolved" in package}
    assert places == {NO_TELEMETRY.name}


def test_no_telemetry_package_is_installed() -> None:
    packages = json.loads(PACKAGE_LOCK.read_bytes())["packages"]
    assert packages["node_modules/applicationinsights"]["resolved"] == NO_TELEMETRY.name
    assert not [name for name in packages if "opentelemetry" in name]
