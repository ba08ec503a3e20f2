import pytest

from flows.cli.display import left_out, shown_rows, whereabouts
from tasks.models import FileResult, State


def files(**counts: int) -> list[FileResult]:
    states: dict[str, State] = {"done": "converted", "failed": "failed"}
    return [
        FileResult(f"{name} {n}.mp4", "mp3", None, states[name])
        for name, count in counts.items()
        for n in range(count)
    ]


def test_of_a_few_files_each_has_a_row() -> None:
    few = files(done=60, failed=40)
    assert shown_rows(few) == few
    assert left_out(shown_rows(few), few) == ""


def test_of_many_files_those_that_are_not_converted_have_a_row() -> None:
    many = files(done=1000, failed=40)
    assert shown_rows(many) == many[1000:]
    assert left_out(shown_rows(many), many) == "… and 1000 files converted or skipped."


def test_where_too_many_are_not_converted_it_says_how_many_are_left_out() -> None:
    many = files(done=1000, failed=140)
    assert len(shown_rows(many)) == 100
    assert left_out(shown_rows(many), many) == "… and 40 more that are not converted."


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"download_to": "out", "is_fetched": True}, "out"),
        (
            {"download_to": "out", "is_fetched": False},
            "container output/talks. Run again to fetch them into out.",
        ),
        (
            {"download_to": None, "is_fetched": False},
            "container output/talks. --download-to DIR fetches them.",
        ),
    ],
)
def test_it_says_where_the_outputs_are_and_how_to_fetch_them(
    run: dict[str, object], said: str
) -> None:
    assert whereabouts(run | {"container": "output", "prefix": "talks"}) == said
