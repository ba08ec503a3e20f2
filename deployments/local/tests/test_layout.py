"""The package as a whole: its imports, its names and the length of its parts."""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import local_azure

ROOT = Path(*local_azure.__path__)
TREES = {
    ".".join(("local_azure", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): ast.parse(path.read_text())
    for path in ROOT.rglob("*.py")
}
LONGEST_MODULE = 350
LONGEST_FUNCTION = 50


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names of imported modules, also of imports for annotations and in functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in TREES else str(node.module)


def test_no_module_imports_another_in_a_cycle() -> None:
    graph = {name: set(imported(tree)) & TREES.keys() for name, tree in TREES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_nothing_of_another_distribution_of_this_project_is_imported() -> None:
    names = {name.partition(".")[0] for tree in TREES.values() for name in imported(tree)}
    assert not names & {"flows", "tasks", "prefect"}


def test_no_two_modules_share_a_name() -> None:
    names = Counter(name.rpartition(".")[2] for name in TREES)
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_classes_share_a_name() -> None:
    names = Counter(
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_modules_and_functions_are_short() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {path.name for path, count in lines.items() if count > LONGEST_MODULE} == set()
    functions = [
        node
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = [each for each in functions if (each.end_lineno or 0) - each.lineno >= LONGEST_FUNCTION]
    assert [each.name for each in long] == []
