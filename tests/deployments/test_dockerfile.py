"""What can be said of the Dockerfile without a Docker engine."""

import json
import re
import tomllib
from pathlib import Path

from flows.cli.served_deployments import PREFECT_FILE, ROOT, read_prefect_file

LINES = (ROOT / "deployments" / "Dockerfile").read_text().splitlines()
README = (ROOT / "README.md").read_text()


def of(instruction: str) -> list[str]:
    """What follows the instruction, wherever it is used."""
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def test_what_it_copies_is_there_and_is_all_that_an_installation_needs() -> None:
    sources = [word for line in of("COPY") for word in line.split()[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.rstrip("*") for package in packages} <= set(sources)
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= set(sources)


def test_it_installs_with_the_readmes_command_and_a_python_that_the_project_takes() -> None:
    install = next(line for line in of("RUN") if line.startswith("pip"))
    assert install == "pip install --no-cache-dir -q -e ."
    assert of("FROM") == ["python:3.11-slim"]


def test_it_serves_a_pool_that_has_deployments_with_the_readmes_command() -> None:
    (command,) = (json.loads(line) for line in of("CMD"))
    _, script, pool = command
    assert (ROOT / script).is_file()
    assert read_prefect_file(PREFECT_FILE).for_pool(pool)
    assert f"flows/serve.py {pool}" in README


def test_the_readme_builds_it_and_deploys_from_it_what_there_is() -> None:
    section = README.partition("### In a container")[2].partition("\n###")[0]
    files = re.findall(r"(?:-f|--prefect-file) (\S+)", section)
    assert {"deployments/Dockerfile", "deployments/prefect.yaml"} == set(files)
    names = re.findall(r"--name (\S+)", section)
    deployments = {each.name for each in read_prefect_file(PREFECT_FILE).deployments}
    assert names
    assert set(names) <= deployments
    assert all(Path(ROOT / file).is_file() for file in files)
