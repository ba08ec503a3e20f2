"""The page on Azure agrees with the Bicep files, the pipeline and, if installed, the Azure CLI."""

import ast
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from azure.batch.aio import BatchClient
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, BlobServiceClient, ContainerClient

from bench import load_questions
from bicep import Bicep, literal, text, walk
from tasks.naming import log_container

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deployments" / "azure"
PAGE = (FOLDER / "README.md").read_text()
MAIN, POOL = Bicep(FOLDER / "main.bicep"), Bicep(FOLDER / "pool.bicep")
NOT_ASKED = {
    "close",
    "create_task",
    "from_blob_url",
    "from_connection_string",
    "from_container_url",
    "get_blob_client",
    "get_container_client",
}


def block(mark: str) -> list[str]:
    found = re.search(rf"<!-- {mark} -->\n```sh\n(.+?)```", PAGE, re.DOTALL)
    assert found
    return found[1].splitlines()


def az_commands() -> Iterator[str]:
    """Yield every call of az on the page, including calls inside other commands."""
    shown = "\n".join(re.findall(r"```sh\n(.+?)```", PAGE, re.DOTALL))
    for line in [*shown.splitlines(), *re.findall(r"`(az [^`]+)`", PAGE)]:
        inner = re.findall(r"\$\((az .+?)\)", line)
        yield from inner
        outer = re.sub(r"\$\(az .+?\)", "value", line)
        if outer.startswith("az "):
            yield outer.partition(" > ")[0]


def words_and_options(command: str) -> tuple[str, frozenset[str]]:
    """Split `az group create --name x` into `group create` and its options."""
    words = shlex.split(command)[1:]
    first = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    return " ".join(words[:first]), frozenset(w for w in words if w.startswith("--"))


@cache
def cli_help(words: str) -> str:
    called = subprocess.run(
        [shutil.which("az") or "az", *words.split(), "--help"],
        env=os.environ | {"AZURE_CORE_COLLECT_TELEMETRY": "no"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert called.returncode == 0, called.stderr
    return called.stdout


@pytest.mark.skipif(not shutil.which("az"), reason="the Azure CLI is not installed")
def test_the_cli_knows_every_command_and_option() -> None:
    for words, options in {words_and_options(command) for command in az_commands()}:
        known = set(re.findall(r"(?<!\S)--[a-z-]+", cli_help(words)))
        assert options <= known, words


def test_a_first_conversion_takes_ten_commands() -> None:
    lines = block("first conversion")
    assert len(lines) == 10
    assert lines[-1].startswith("az group delete")


def test_the_bicep_files_have_every_name_that_the_commands_use() -> None:
    for command in az_commands():
        given = re.search(r"--template-file (\S+) --parameters (.+)$", command)
        if given:
            file = Bicep(ROOT / given[1])
            assert set(re.findall(r"(\w+)=", given[2])) <= set(file.of("parameter"))
    outputs = set(re.findall(r"properties\.outputs\.(\w+)\.value", PAGE))
    assert outputs <= set(MAIN.of("output"))
    assert "settings" in outputs


@pytest.mark.parametrize("file", [MAIN, POOL], ids=["main", "pool"])
def test_every_parameter_has_a_row_with_its_default_and_its_description(file: Bicep) -> None:
    for name, parameter in file.of("parameter").items():
        default = "" if parameter.value.type == "type" else f"`{text(parameter.value)}`"
        [description] = parameter.decorators["description"]
        assert f"| `{name}` | {default} | {description} |" in PAGE


def test_the_settings_by_hand_are_the_settings_of_the_bicep_file() -> None:
    by_hand = re.findall(r'^echo "(AZURE_\w+)=', "\n".join(block("by hand")), re.MULTILINE)
    lines = [text(n).strip("'") for n in MAIN.of("output")["settings"].value.named_children]
    assert by_hand == [line.partition("=")[0] for line in lines]


def test_the_lifecycle_rule_by_hand_is_the_rule_of_the_bicep_file() -> None:
    [command] = [c for c in az_commands() if "management-policy" in c]
    [rule] = json.loads(shlex.split(command)[-1])["rules"]
    values = {text(n).strip("'") for n in walk(MAIN.of("resource")["lifecycle"].node)}
    assert {rule["name"], rule["type"], *rule["definition"]["filters"]["blobTypes"]} <= values
    container = literal(MAIN.of("parameter")["inputContainer"].value)
    prefixes = [f"{container}/", f"{log_container(container)}/"]
    assert rule["definition"]["filters"]["prefixMatch"] == prefixes
    days = rule["definition"]["actions"]["baseBlob"]["delete"]["daysAfterModificationGreaterThan"]
    assert days == literal(MAIN.of("parameter")["inputDays"].value)


def test_every_role_is_listed_with_its_id_and_assigned_by_hand_too() -> None:
    variables = MAIN.of("variable").values()
    ids = {literal(v.value) for v in variables if v.value.type == "string"} - {None}
    rows = dict(re.findall(r"^\| ([A-Z][\w ]+) \| `([0-9a-f-]{36})` \|", PAGE, re.MULTILINE))
    assert {role for role in ids if re.fullmatch("[0-9a-f-]{36}", role)} == set(rows.values())
    given = set(re.findall(r'--role "([^"]+)"', "\n".join(block("by hand"))))
    assert given == set(rows) - {"Storage Blob Data Reader"}  # only for containers with sources


def test_every_operation_of_the_pipeline_is_listed_with_the_right_that_it_needs() -> None:
    clients = (BatchClient, BlobServiceClient, ContainerClient, BlobClient, BlobLeaseClient)
    offered = {name for client in clients for name, _ in inspect.getmembers(client, callable)}
    called = {
        node.func.attr
        for path in (ROOT / "tasks").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    rows = re.findall(r"^\| `(?:Microsoft|…)\S+` \| (.+) \|$", PAGE, re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(rows))
    assert {n for n in called & offered if n[0] != "_"} - NOT_ASKED == set(named)
    assert len(named) == len(set(named))


def test_every_flag_on_the_page_exists() -> None:
    flags = set(re.findall(r"(--(?:pool|node|limits|cleanup)\.[a-z-]+)", PAGE))
    every_flag = (ROOT / "docs" / "usage.md").read_text()  # compared with the code in test_docs.py
    assert flags
    assert {flag for flag in flags if f"| `{flag}` |" not in every_flag} == set()


def test_the_page_has_the_number_of_questions() -> None:
    assert f"{len(load_questions())} single questions" in PAGE
