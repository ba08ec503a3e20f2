from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import NOW, at

from tasks.contention import GIVE_WAY, next_step, overlaps

FOLDERS = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3).map("/".join)
SOON = NOW + GIVE_WAY - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("folder", "other"),
    [("", "talks"), ("talks", "talks/2024"), ("talks/", "talks/2024/"), ("a", "a"), ("", "")],
)
def test_a_folder_overlaps_itself_and_those_inside_it(folder: str, other: str) -> None:
    assert overlaps(folder, other)
    assert overlaps(other, folder)


@pytest.mark.parametrize(
    ("folder", "other"), [("talks", "talks2"), ("talks", "other/talks"), ("a/b", "a/c")]
)
def test_folders_beside_each_other_do_not_overlap(folder: str, other: str) -> None:
    assert not overlaps(folder, other)
    assert not overlaps(other, folder)


@given(FOLDERS, FOLDERS)
def test_folders_overlap_if_an_output_can_be_in_both(folder: str, other: str) -> None:
    parts, others = ([p for p in each.split("/") if p] for each in (folder, other))
    is_common = all(one == two for one, two in zip(parts, others, strict=False))
    assert overlaps(folder, other) is is_common


def test_a_run_that_sees_no_other_starts() -> None:
    assert next_step("talks", [], asked_at=NOW, now=at(100)) == "start"


@given(st.sets(FOLDERS, min_size=2, max_size=5))
def test_of_runs_that_see_each_other_none_starts_and_only_the_first_looks_again(
    folders: set[str],
) -> None:
    steps = {
        folder: next_step(folder, folders - {folder}, asked_at=NOW, now=SOON) for folder in folders
    }
    first = min(folders)
    assert steps.pop(first) == "look again"
    assert set(steps.values()) == {"give way"}


def test_a_run_gives_way_to_one_that_stays() -> None:
    assert next_step("", ["talks"], asked_at=NOW, now=SOON) == "look again"
    assert next_step("", ["talks"], asked_at=NOW, now=NOW + GIVE_WAY) == "give way"


def test_the_outer_folder_comes_first_in_any_order() -> None:
    for folders in permutations(["", "talks", "talks/2024"]):
        assert min(folders) == ""
        assert next_step("talks", folders[:1], asked_at=NOW, now=NOW) != "start"
