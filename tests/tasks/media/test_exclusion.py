from pathlib import Path

import pytest
from records import a_source

from tasks.errors import UsageError
from tasks.media.exclusion import without_excluded
from tasks.models import Source

FILES = ("a.mp4", "a.part.mp4", "drafts/b.mp4", "talks/2026/c.mp4", "talks/drafts/d [1].mp4")
LOCAL = [a_source(name) for name in FILES]
BLOBS = [a_source(name, location=f"az://media/library/{name}") for name in FILES]


def left_out(sources: list[Source], *patterns: str) -> list[str]:
    kept = without_excluded(sources, patterns)
    return [source.name for source in sources if source not in kept]


@pytest.mark.parametrize("sources", [LOCAL, BLOBS], ids=["files", "blobs"])
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.part.mp4", ["a.part.mp4"]),
        ("c.mp4", ["talks/2026/c.mp4"]),
        ("?.mp4", ["a.mp4", "drafts/b.mp4", "talks/2026/c.mp4"]),
        ("[!a-b]*", ["talks/2026/c.mp4", "talks/drafts/d [1].mp4"]),
        ("drafts/*", ["drafts/b.mp4"]),
        ("**/drafts/*", ["drafts/b.mp4", "talks/drafts/d [1].mp4"]),
        ("talks/**", ["talks/2026/c.mp4", "talks/drafts/d [1].mp4"]),
        ("talks/*.mp4", []),
        ("talks/*/*[[]1].mp4", ["talks/drafts/d [1].mp4"]),
        ("A.MP4", []),
        ("drafts", []),
        (".*", []),
    ],
)
def test_a_pattern_is_a_shell_glob_for_names_or_for_paths_below_the_source(
    sources: list[Source], pattern: str, names: list[str]
) -> None:
    assert left_out(sources, pattern) == names


def test_a_pattern_may_be_a_whole_path_or_address() -> None:
    assert left_out(LOCAL, "/library/drafts/**") == ["drafts/b.mp4"]
    assert left_out(BLOBS, "az://media/*/drafts/*") == ["drafts/b.mp4"]
    assert left_out(BLOBS, "az://other/**") == []


def test_a_relative_pattern_may_start_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    film = a_source("a.mp4", location=f"{tmp_path}/talks/a.mp4")
    assert left_out([film, *LOCAL], "./talks/*.mp4") == ["a.mp4"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert left_out([film, *LOCAL], "~/talks/*") == ["a.mp4"]


def test_several_patterns_leave_out_what_any_of_them_matches() -> None:
    assert left_out(LOCAL, "a.*", "drafts/*") == ["a.mp4", "a.part.mp4", "drafts/b.mp4"]


def test_a_pattern_that_matches_nothing_is_logged_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert left_out(LOCAL, "*.wav", "a.mp4") == ["a.mp4"]
    assert [record.getMessage() for record in caplog.records] == [
        "--exclude '*.wav' leaves out no further source."
    ]


def test_patterns_that_leave_out_everything_are_an_error() -> None:
    with pytest.raises(UsageError, match="leaves out all sources"):
        without_excluded(LOCAL, ["**"])
    with pytest.raises(UsageError, match=r"'\[z-a\]' is not a valid glob"):
        without_excluded(LOCAL, ["[z-a]"])
