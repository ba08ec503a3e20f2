"""The choice of Node.js, among programs on PATH that print versions."""

from pathlib import Path

import pytest

from local_azure.nodejs import find_nodejs, major_version, wheel_nodejs


def put(folder: Path, name: str, says: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("version", ["v20.20.2", "v22.0.0"])
def test_the_machines_nodejs_20_or_22_is_used_with_its_npm(tools: Path, version: str) -> None:
    node, npm = put(tools, "node", f"echo {version}"), put(tools, "npm", "exit 1")
    assert find_nodejs().node == node
    assert find_nodejs().npm == (str(npm),)


@pytest.mark.parametrize(
    "says", ["echo v24.1.0", "echo v18.20.1", "echo v21.0.0", "echo what", "exit 1"]
)
def test_other_versions_of_nodejs_are_ignored(tools: Path, says: str) -> None:
    put(tools, "node", says)
    put(tools, "npm", "exit 1")
    assert find_nodejs() == wheel_nodejs()


def test_a_nodejs_without_npm_is_used_with_the_wheels_npm(tools: Path) -> None:
    node = put(tools, "node", "echo v22.1.0")
    assert find_nodejs().node == node
    assert find_nodejs().npm == wheel_nodejs().npm


@pytest.mark.usefixtures("tools")
def test_without_nodejs_on_path_the_wheels_version_22_is_used() -> None:
    nodejs = find_nodejs()
    assert nodejs == wheel_nodejs()
    assert major_version(str(nodejs.node)) == 22
    assert Path(nodejs.npm[-1]).is_file()
