"""The distribution by itself: few dependencies, and an installation from a git address."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local_azure import env_file

PROJECT = Path(__file__).parents[1]
MOST_DEPENDENCIES = 12
NOT_SOURCES = shutil.ignore_patterns("*.egg-info", "__pycache__", "build", ".*")
GIT = ("git", "-c", "user.name=Tests", "-c", "user.email=tests@example.invalid")


def test_it_has_at_most_12_dependencies_and_not_prefect() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=~ ]", each)[0] for each in project["dependencies"]}
    assert len(names) <= MOST_DEPENDENCIES
    assert not names & {"prefect", "batch-convert", "azure-batch", "azure-storage-blob"}


@pytest.fixture
def address(tmp_path: Path) -> str:
    """Commit the project to a repository, as a subdirectory, and return its address for pip."""
    repository = tmp_path / "repository"
    shutil.copytree(PROJECT, repository / "deployments" / "local", ignore=NOT_SOURCES)
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "A copy")):
        subprocess.run([*GIT, *command], cwd=repository, check=True)
    return f"git+{repository.as_uri()}#subdirectory=deployments/local"


@pytest.fixture
def programs(address: str, tmp_path: Path) -> Path:
    """Install the distribution into an environment of its own; return its folder of programs."""
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    subprocess.run([home / "bin" / "pip", "install", "-q", address], check=True)
    return home / "bin"


@pytest.fixture
def page(programs: Path, tmp_path: Path) -> Iterator[str]:
    """Run the installed command without storage, and yield the link to its live page."""
    flags = ("--no-storage", "--batch-port", "0", "--data", tmp_path / "data")
    command = [programs / "local-azure", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert "ready\n" in iter(process.stdout.readline, "")
        yield env_file.read(tmp_path / "data" / "stack.env")["LOCAL_AZURE_PAGE"]
        process.terminate()


@pytest.mark.slow  # it downloads the dependencies
def test_it_installs_by_itself_from_a_git_address_and_runs(programs: Path, page: str) -> None:
    assert "Local Azure Batch" in httpx.get(page).text
    listed = subprocess.run(
        [programs / "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    names = {line.partition("==")[0] for line in listed.stdout.splitlines()}
    assert "local-azure" in names
    assert not {name for name in names if name.startswith(("prefect", "azure-"))}
