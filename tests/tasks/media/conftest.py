import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from runner_node import Node


@pytest.fixture
def node(tmp_path: Path, ffmpeg_folder: Path, tools_folder: Path) -> Callable[..., Node]:
    """A function that makes a node with this input, a path or bytes."""

    def with_input(source: Path | bytes) -> Node:
        if isinstance(source, Path):
            shutil.copyfile(source, tmp_path / "input")
        else:
            (tmp_path / "input").write_bytes(source)
        return Node(tmp_path, f"{ffmpeg_folder}:{tools_folder}")

    return with_input
