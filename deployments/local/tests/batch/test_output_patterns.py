"""The files of a task that match a pattern."""

import os
from pathlib import Path

import pytest

from local_azure.batch.output_patterns import matching_files


@pytest.fixture
def task_folder(tmp_path: Path) -> Path:
    """Make a task's folder with files, and links that lead in and out of it."""
    folder = tmp_path / "task"
    files = ("a.mp3", "d/b.mp3", "d/e/c.mp3", ".h.mp3", ".d/i.mp3", "n[1].mp3")
    for name in ("stdout.txt", *(f"wd/{name}" for name in files)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "o.mp3").touch()
    links = {"in.mp3": "a.mp3", "out.mp3": "../../other/o.mp3", "far": "../../other", "up": ".."}
    for name, target in {**links, "all": "/", "loop": "loop"}.items():
        (folder / "wd" / name).symlink_to(target)
    os.mkfifo(folder / "wd" / "pipe.mp3")
    return folder


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.mp3", ["a.mp3"]),
        ("*.mp3", ["a.mp3", "in.mp3", "n[1].mp3"]),
        ("**/*.mp3", ["a.mp3", "d/b.mp3", "d/e/c.mp3", "in.mp3", "n[1].mp3"]),
        ("**/e/*", ["d/e/c.mp3"]),
        ("d/**", ["d/b.mp3", "d/e/c.mp3"]),
        ("**/**/**/b.*", ["d/b.mp3"]),
        ("n[[]1].mp3", ["n[1].mp3"]),
        (".*.mp3", [".h.mp3"]),
        ("../std*.txt", ["../stdout.txt"]),
        ("../stdout.txt", ["../stdout.txt"]),
        ("pipe.mp3", []),
        ("none/*", []),
        ("loop", []),
        ("loop/*", []),
    ],
)
def test_a_pattern_matches_files_from_the_working_folder(
    task_folder: Path, pattern: str, expected: list[str]
) -> None:
    found = matching_files(pattern, task_folder=task_folder)
    assert [name for _, name in found] == expected
    assert all(path.is_file() for path, _ in found)


@pytest.mark.parametrize(
    "pattern",
    [
        *("out.mp3", "o*.mp3", "far/o.mp3", "far/*", "*/o.mp3", "all/etc/passwd", "all/etc/pass*"),
        *("all/**/*.mp3", "../../other/o.mp3", "../../other/*", "../../*/o.mp3", "/etc/pass*"),
        *("/etc/passwd", "/**/*.mp3", "**/../../../other/*"),
    ],
)
def test_no_pattern_leads_out_of_the_tasks_folder(task_folder: Path, pattern: str) -> None:
    assert matching_files(pattern, task_folder=task_folder) == []


def test_an_absolute_pattern_may_lead_into_the_tasks_folder(task_folder: Path) -> None:
    (match,) = matching_files(f"{task_folder}/wd/a.*", task_folder=task_folder)
    assert match == (task_folder / "wd" / "a.mp3", f"{task_folder}/wd/a.mp3")


def test_a_link_to_the_root_folder_is_not_walked(
    task_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scan(path))
    matching_files("**/*.x", task_folder=task_folder)
    assert {os.path.relpath(path, task_folder) for path in listed} == {"wd", "wd/d", "wd/d/e"}
