"""The imports between the packages of the project."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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
def test_no_package_imports_a_package_above_it(folder: str, forbidden: set[str]) -> None:
    assert [(path, name) for path, name in imports(folder) if name in forbidden] == []


def test_only_the_command_line_imports_the_local_azure() -> None:
    importers = {path.name for path, name in imports("flows") if name == "local_azure"}
    assert importers == {"demonstration.py", "session.py"}
