"""The README describes what the code does."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from azure.batch import BatchClient
from azure.core.rest import HttpRequest

from local_azure import pytest_plugin
from local_azure.__main__ import parser
from local_azure.batch import fault_kinds, spec_types, specs
from local_azure.batch.routes import OPERATIONS

PAGE = (Path(__file__).parents[1] / "README.md").read_text()
CLIENT_TESTS = "".join(path.read_text() for path in Path(__file__).parent.rglob("batch/*.py"))
OPERATION_ROWS = re.findall(r"^\| ([A-Z]+) \| `(/.+?)` \| `(\w+)` \|$", PAGE, re.MULTILINE)
FAULT_ROWS = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \| `(\{.+\})` \|$", PAGE, re.MULTILINE)
KINDS = {
    kind: model
    for model in get_args(get_args(fault_kinds.Fault)[0])
    for kind in get_args(model.model_fields["kind"].annotation)
}


def test_the_table_of_operations_is_the_list_of_routes() -> None:
    routes = [(method, path.replace(":path", "")) for method, path, _ in OPERATIONS]
    assert [(method, path) for method, path, _ in OPERATION_ROWS] == routes


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
    named = re.findall(
        r"`(\w+)`", "\n".join(row.split("|")[1] for row in section.splitlines()[2:] if row)
    )
    assert len(named) == 8
    assert [name for name in named if not hasattr(pytest_plugin, name)] == []


def test_the_example_runs_unchanged(tmp_path: Path) -> None:
    found = re.search(r"<!-- example -->\n```python\n(.+?)```", PAGE, re.DOTALL)
    assert found
    program = [sys.executable, "-c", found[1], str(tmp_path / "data")]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("hello from tvmps_")


def test_a_fault_is_ordered_as_the_readme_says(batch: BatchClient) -> None:
    found = re.search(r"^order = (\{.+\})$", PAGE, re.MULTILINE)
    assert found
    path = "/_local/faults?api-version=2025-06-01"
    assert f'HttpRequest("POST", "{path}", json=order)' in PAGE
    order = json.loads(found[1])
    assert batch.send_request(HttpRequest("POST", path, json=order)).status_code == 201
    assert batch.send_request(HttpRequest("GET", path)).json()["value"] == [order]
    assert batch.send_request(HttpRequest("DELETE", path)).status_code == 204
