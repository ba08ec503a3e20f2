"""The README and the page on faults describe what the code does."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
from azure.batch import BatchClient
from azure.core.rest import HttpRequest

from local_azure import pytest_plugin
from local_azure.__main__ import parser
from local_azure.batch import fault_kinds, spec_types, specs
from local_azure.batch.routes import OPERATIONS
from local_azure.testing import local_stack

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "README.md").read_text()
FAULTS = (PROJECT / "FAULTS.md").read_text()
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text()
MOST_LINES = 150
CLIENT_TESTS = "".join(path.read_text() for path in Path(__file__).parent.rglob("batch/*.py"))
OPERATION_ROWS = [
    (verb, path + action, method)
    for path, cell in re.findall(r"^\| `(/\S*)` \| ([A-Z]+ `.+) \|$", PAGE, re.MULTILINE)
    for verb, action, method in re.findall(r"([A-Z]+) (?:`(/\w+)` )?`(\w+)`", cell)
]
FAULT_ROWS = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \| `(\{.+\})` \|$", FAULTS, re.MULTILINE)
KINDS = {
    kind: model
    for model in get_args(get_args(fault_kinds.Fault)[0])
    for kind in get_args(model.model_fields["kind"].annotation)
}


def test_the_readme_has_at_most_150_lines() -> None:
    assert len(PAGE.splitlines()) <= MOST_LINES


def test_the_latest_version_in_the_changelog_is_that_of_the_distribution() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert re.findall(r"^## (\d+\.\d+\.\d+)", CHANGELOG, re.MULTILINE)[0] == project["version"]


def test_the_table_of_operations_is_the_list_of_routes() -> None:
    routes = [(method, path.replace(":path", "")) for method, path, _ in OPERATIONS]
    rows = [(method, path) for method, path, _ in OPERATION_ROWS]
    assert sorted(rows) == sorted(routes)


@pytest.mark.parametrize("method", [method for _, _, method in OPERATION_ROWS])
def test_every_operation_is_called_by_a_test_through_the_present_client(method: str) -> None:
    assert hasattr(BatchClient, method)
    assert re.search(rf"\.{method}\b", CLIENT_TESTS)


def test_every_refused_property_is_in_the_readme() -> None:
    models = [each for each in vars(specs).values() if isinstance(each, type)]
    refused = {
        field.alias
        for model in models
        if issubclass(model, spec_types.Spec)
        for field in model.model_fields.values()
        if field.annotation is type(None)
    }
    assert len(refused) > 20
    assert {alias for alias in refused if f"`{alias}`" not in PAGE} == set()


def test_every_kind_of_fault_has_a_row_with_its_fields_and_an_example() -> None:
    assert [kind for kind, _, _ in FAULT_ROWS] == list(KINDS)
    for kind, fields, example in FAULT_ROWS:
        names = [field.alias for field in KINDS[kind].model_fields.values()]
        assert re.findall(r"`(\w+)`", fields) == [name for name in names if name != "kind"]
        order = fault_kinds.AnyOrder.model_validate(json.loads(example)).root
        assert type(order) is KINDS[kind]


def test_every_flag_has_a_row() -> None:
    usage = " ".join(parser().format_usage().split())
    flags = re.findall(r"\[(--.+?)\]", usage)
    rows = re.findall(r"^\| `(--.+?)` \|", PAGE, re.MULTILINE)
    assert rows == flags


def test_every_fixture_in_the_table_is_one_of_the_plugin() -> None:
    section = PAGE.partition("| Fixture |")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    named = re.findall(r"`(\w+)`", "\n".join(rows))
    assert len(named) == 9
    assert [name for name in named if not hasattr(pytest_plugin, name)] == []


def code_of(section: str) -> str:
    """Return the first block of Python after a heading."""
    found = re.search(rf"^## {section}\n.+?^```python\n(.+?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def run(*command: str, folder: Path, settings: Mapping[str, str]) -> str:
    """Run Python in a folder, and return what it prints."""
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_example_runs_unchanged_and_with_the_fault(tmp_path: Path) -> None:
    example = code_of("Run a task")
    fault = re.findall(r"^```python\n(.+?)```", FAULTS, re.DOTALL | re.MULTILINE)[0]
    counted = "print(next(client.list_nodes('pool')).total_tasks_run)\nclient.begin_delete_job"
    evicted = example.replace("command =", f"{fault}command =")
    evicted = evicted.replace("client.begin_delete_job", counted)
    evicted = evicted.replace("sleep 3", "sleep 1").replace(
        '"returnSeconds": 5', '"returnSeconds": 0'
    )
    with local_stack(tmp_path / "data", "--no-storage", "--nodes", "1") as stack:
        for program, runs in ((example, ""), (evicted, "2")):
            printed = run("-c", program, folder=tmp_path, settings=stack.settings)
            assert re.fullmatch(rf"hello from tvmps_\w+\s+{runs}\s*", printed)


def test_the_ten_lines_of_a_test_run_in_a_project_of_its_own(tmp_path: Path) -> None:
    lines = code_of("In tests")
    assert len([line for line in lines.splitlines() if line]) <= 10
    assert "    order(" in lines
    options = re.findall(r"`addopts = (\".+?\")`", PAGE)[0]
    (tmp_path / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\naddopts = {options}\n")
    (tmp_path / "test_work.py").write_text(lines)
    printed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path, settings={})
    assert "1 passed" in printed


def test_a_fault_is_ordered_as_the_readme_says(batch: BatchClient) -> None:
    found = re.search(r"^order = (\{.+\})$", FAULTS, re.MULTILINE)
    assert found
    path = "/_local/faults?api-version=2025-06-01"
    assert f'HttpRequest("POST", "{path}", json=order)' in FAULTS
    order = json.loads(found[1])
    assert batch.send_request(HttpRequest("POST", path, json=order)).status_code == 201
    assert batch.send_request(HttpRequest("GET", path)).json()["value"][0].items() >= order.items()
    assert batch.send_request(HttpRequest("DELETE", path)).status_code == 204
