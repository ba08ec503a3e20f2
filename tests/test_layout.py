"""What holds for the project as a whole: who imports whom, and that the README is true."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import Parameter
from pydantic import BaseModel

from tasks.azure.settings import Environment
from tasks.files import AllowedFolders
from tasks.parameters import Cleanup, Limits, Node, Output, Pool, Run
from tasks.results.diagnosis import TABLE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def imports(folder: str) -> Iterator[tuple[Path, str]]:
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield path, node.module.partition(".")[0]
            elif isinstance(node, ast.Import):
                yield from ((path, alias.name.partition(".")[0]) for alias in node.names)


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [("tasks", {"flows", "local_azure"}), ("deployments/local", {"flows", "tasks"})],
)
def test_no_package_imports_those_above_it(folder: str, forbidden: set[str]) -> None:
    assert [(path, name) for path, name in imports(folder) if name in forbidden] == []


def test_only_the_command_line_imports_the_local_azure() -> None:
    importers = {path.name for path, name in imports("flows") if name == "local_azure"}
    assert importers == {"demo.py", "prefect_server.py", "session.py"}


def shown(default: object) -> str:
    if isinstance(default, list):
        return ", ".join(f"`{each}`" for each in default)
    return "" if default == "" or default is False else f"`{default}`"


@pytest.mark.parametrize(
    ("prefix", "model"),
    [
        ("", Output),
        ("", Run),
        ("pool.", Pool),
        ("node.", Node),
        ("limits.", Limits),
        ("cleanup.", Cleanup),
    ],
)
def test_the_readme_has_a_row_for_every_parameter(prefix: str, model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        own = [m.name[0] for m in field.metadata if isinstance(m, Parameter) and m.name]
        flag = own[0] if own else f"--{prefix}{name.replace('_', '-')}"
        assert f"| `{flag}` | {shown(field.default)} | {field.description} |" in README


def test_the_readme_explains_every_code_of_a_diagnosis() -> None:
    codes = {row.code for row in TABLE}
    section = README.partition("## When something goes wrong")[2].partition("\n## ")[0]
    assert codes == set(re.findall(r"`([A-Z]\w+)`", section.partition("\n\nA file")[0]))


def test_the_readme_names_every_setting() -> None:
    for field in (*Environment.model_fields.values(), *AllowedFolders.model_fields.values()):
        assert f"| `{field.validation_alias}` |" in README
