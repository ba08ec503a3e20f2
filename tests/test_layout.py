"""The layout of both distributions: who imports whom, names, and lengths."""

import ast
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_MODULE_LINES = 350
LONGEST_FUNCTION_LINES = 50
MEDIAN_FUNCTION_LINES = 8
Trees = Mapping[str, ast.Module]


def parse(root: Path, *packages: str) -> dict[str, ast.Module]:
    """Return the syntax trees of all modules, by their dotted names."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): ast.parse(path.read_text())
        for package in packages
        for path in (root / package).rglob("*.py")
    }


DISTRIBUTIONS = {
    "batch-convert": parse(ROOT, "flows", "tasks"),
    "local-azure": parse(ROOT / "deployments" / "local" / "src", "local_azure"),
}
distributions = pytest.mark.parametrize("trees", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names of imported modules, also of imports in functions and for annotations."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(trees: Trees, package: str) -> set[str]:
    return {
        name
        for name, tree in trees.items()
        if package in {module.partition(".")[0] for module in imported(tree)}
    }


def functions(trees: Trees) -> Iterator[tuple[str, int]]:
    """Yield the name and the lines of each function."""
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, (node.end_lineno or 0) - node.lineno + 1


def test_the_stages_import_neither_the_flows_nor_the_local_azure() -> None:
    stages = {n: t for n, t in DISTRIBUTIONS["batch-convert"].items() if n.startswith("tasks")}
    assert importers(stages, "flows") | importers(stages, "local_azure") == set()


def test_only_the_command_line_imports_the_local_azure() -> None:
    names = importers(DISTRIBUTIONS["batch-convert"], "local_azure")
    assert names == {"flows.cli.demonstration", "flows.cli.session"}


def test_the_local_azure_imports_nothing_of_this_project_or_of_prefect() -> None:
    trees = DISTRIBUTIONS["local-azure"]
    assert not any(importers(trees, package) for package in ("flows", "tasks", "prefect"))


@distributions
def test_no_module_imports_another_in_a_cycle(trees: Trees) -> None:
    graph = {name: (set(imported(tree)) & trees.keys()) - {name} for name, tree in trees.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@distributions
def test_no_two_modules_share_a_name(trees: Trees) -> None:
    names = Counter(name.rpartition(".")[2] for name in trees)
    assert {name for name, count in names.items() if count > 1} <= {"__init__", "__main__"}


@distributions
def test_no_two_classes_share_a_name(trees: Trees) -> None:
    classes = (n for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef))
    assert [name for name, count in Counter(c.name for c in classes).items() if count > 1] == []


@distributions
def test_functions_are_short(trees: Trees) -> None:
    long = [name for name, lines in functions(trees) if lines > LONGEST_FUNCTION_LINES]
    assert long == []
    assert statistics.median(lines for _, lines in functions(trees)) <= MEDIAN_FUNCTION_LINES


@pytest.mark.parametrize("folder", ["flows", "tasks", "deployments/local/src"])
def test_modules_are_short(folder: str) -> None:
    lines = {path: len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert [path.name for path, count in lines.items() if count > LONGEST_MODULE_LINES] == []
