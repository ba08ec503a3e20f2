"""The PATH of nodes, which always has an ffmpeg."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from local_azure.ffmpeg import node_path


def test_the_node_path_has_a_working_ffmpeg_if_path_has_none(tools: Path, tmp_path: Path) -> None:
    path = node_path(tmp_path / "bin")
    assert path.split(os.pathsep)[:2] == [str(tmp_path / "bin"), str(tools)]
    command = ["/bin/sh", "-c", "ffmpeg -version"]
    result = subprocess.run(command, env={"PATH": path}, capture_output=True, check=True)
    assert result.stdout.startswith(b"ffmpeg version")


def test_the_machines_ffmpeg_is_used(tools: Path, tmp_path: Path) -> None:
    (tools / "ffmpeg").write_text("#!/bin/sh\n")
    (tools / "ffmpeg").chmod(0o755)
    path = node_path(tmp_path / "bin")
    assert shutil.which("ffmpeg", path=path) == str(tools / "ffmpeg")
    assert not (tmp_path / "bin").exists()


@pytest.mark.usefixtures("tools")
def test_the_node_path_has_the_systems_programs(tmp_path: Path) -> None:
    path = node_path(tmp_path / "bin")
    assert shutil.which("cp", path=path)


def test_relative_folders_are_left_out_of_the_node_path(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([".", "", "bin", str(tools)]))
    assert all(Path(folder).is_absolute() for folder in node_path(tmp_path).split(os.pathsep))


@pytest.mark.usefixtures("tools")
def test_the_link_is_replaced_after_an_upgrade_of_the_wheel(tmp_path: Path) -> None:
    (tmp_path / "ffmpeg").symlink_to(tmp_path / "older wheel")
    node_path(tmp_path)
    assert (tmp_path / "ffmpeg").is_file()
