"""How runner.sh compares a source with the MD5 of the one that the run planned."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from runner_node import RUNNER, Node

EX_TEMPFAIL = 75
SHELLS = [["/bin/sh"], ["dash"], ["busybox", "sh"], ["bash", "--posix"]]


@pytest.fixture
def here(node: Callable[..., Node], clip: Callable[..., Path]) -> Node:
    return node(clip(".mp4"))


def run(node: Node, md5: str, *, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = node.environment()
    return subprocess.run(
        [*node.shell, str(RUNNER)],
        cwd=node.folder,
        env=environment | {"SOURCE_MD5": md5, "PATH": path or node.path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_replaced_source_fails_before_it_is_converted(here: Node, shell: list[str]) -> None:
    if not (found := shutil.which(shell[0])):
        pytest.skip(f"{shell[0]} is not installed")
    planned = md5_of(here.folder / "input")
    (here.folder / "input").write_bytes(b"another source")
    result = run(Node(here.folder, here.path, (found, *shell[1:])), planned)
    assert result.returncode == EX_TEMPFAIL
    assert result.stderr == (
        "runner: the source was replaced after the run planned it. Run again\n"
    )
    assert [path.name for path in here.folder.iterdir()] == ["input"]


def test_the_planned_source_is_converted(here: Node) -> None:
    result = run(here, md5_of(here.folder / "input"))
    assert result.returncode == 0, result.stderr


def test_a_node_without_md5sum_converts_without_comparing(
    here: Node, ffmpeg_folder: Path, tools_folder: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few tools"
    few.mkdir()
    for tool in tools_folder.iterdir():
        if tool.name != "md5sum":
            (few / tool.name).symlink_to(tool.resolve())
    result = run(here, "0" * 32, path=f"{ffmpeg_folder}:{few}")
    assert result.returncode == 0, result.stderr
