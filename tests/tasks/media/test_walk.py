import os
from pathlib import Path

import pytest

from tasks.media.walk import EVERYTHING, Pattern, walk


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.mp4", "x/b.mp4", "x/y/c.mp4", "x/y/d.txt", ".h/e.mp4", "x/.f.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "x" / "up").symlink_to(tmp_path)
    return tmp_path


def names(tree: Path, pattern: Pattern = EVERYTHING) -> list[str]:
    return [os.path.relpath(f.path, tree) for f in walk(str(tree), pattern) if f.kind == "file"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["a.mp4", "x/b.mp4", "x/y/c.mp4", "x/y/d.txt"]),
        ("**", ["a.mp4", "x/b.mp4", "x/y/c.mp4", "x/y/d.txt"]),
        ("**/*.mp4", ["a.mp4", "x/b.mp4", "x/y/c.mp4"]),
        ("**/y/*", ["x/y/c.mp4", "x/y/d.txt"]),
        ("**/**/b.mp4", ["x/b.mp4"]),
        ("x/**/?.mp4", ["x/b.mp4", "x/y/c.mp4"]),
        ("*/b.mp4", ["x/b.mp4"]),
        ("*", ["a.mp4", "x/b.mp4", "x/y/c.mp4", "x/y/d.txt"]),
        ("[!x]*", ["a.mp4"]),
        (".*", [".h/e.mp4"]),
        ("x/.*", ["x/.f.mp4"]),
        ("*/none", []),
        ("*/up/a.mp4", []),
    ],
)
def test_a_pattern_matches_files_and_all_that_is_in_matching_folders(
    tree: Path, pattern: str, expected: list[str]
) -> None:
    assert names(tree, Path(pattern).parts) == expected


def test_what_is_left_out_is_found_with_its_kind(tree: Path) -> None:
    rest = {os.path.relpath(f.path, tree): f.kind for f in walk(str(tree)) if f.kind != "file"}
    assert rest == {
        ".h": "hidden folder",
        "x/.f.mp4": "hidden file",
        "x/up": "linked folder",
    }


def test_only_folders_that_can_match_are_listed(tree: Path) -> None:
    (tree / "x" / "y").chmod(0)
    listed = [f.path for f in walk(str(tree), ("*", "*.mp4")) if f.kind == "unlisted folder"]
    (tree / "x" / "y").chmod(0o700)
    assert listed == []


def test_a_folder_that_does_not_exist_is_found_with_the_reason(tmp_path: Path) -> None:
    (found,) = walk(str(tmp_path / "none"))
    assert (found.kind, found.reason) == ("unlisted folder", "No such file or directory")
