"""The Dockerfile agrees with the project. No test builds it."""

import json
import re
import tomllib
from pathlib import Path

from flows.cli.served_deployments import PREFECT_FILE, ROOT, read_prefect_file

LINES = (ROOT / "deployments" / "Dockerfile").read_text().splitlines()
PAGE = (ROOT / "docs" / "prefect.md").read_text()


def of(instruction: str) -> list[str]:
    """Return the arguments of each use of the instruction."""
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def test_it_copies_existing_files_and_all_that_an_installation_needs() -> None:
    sources = [word for line in of("COPY") for word in line.split()[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    copied = {source.partition("/")[0] for source in sources}
    assert {package.rstrip("*") for package in packages} <= copied
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= set(sources)


def test_it_installs_the_main_distribution_alone_on_a_supported_python() -> None:
    install = next(line for line in of("RUN") if line.startswith("pip"))
    assert install == "pip install --no-cache-dir -q -e ."
    assert of("FROM") == ["python:3.11-slim"]


def test_it_serves_a_pool_that_has_deployments_with_the_command_of_the_page() -> None:
    (command,) = (json.loads(line) for line in of("CMD"))
    _, script, pool = command
    assert (ROOT / script).is_file()
    assert read_prefect_file(PREFECT_FILE).for_pool(pool)
    assert f"flows/serve.py {pool}" in PAGE


def test_the_page_builds_it_and_deploys_existing_deployments_from_it() -> None:
    section = PAGE.partition("## In a container")[2].partition("\n## ")[0]
    files = re.findall(r"(?:-f|--prefect-file) (\S+)", section)
    assert {"deployments/Dockerfile", "deployments/prefect.yaml"} == set(files)
    names = re.findall(r"--name (\S+)", section)
    deployments = {each.name for each in read_prefect_file(PREFECT_FILE).deployments}
    assert names
    assert set(names) <= deployments
    assert all(Path(ROOT / file).is_file() for file in files)
