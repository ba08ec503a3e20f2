from dataclasses import replace
from typing import Any

import pytest
from records import NOW, ONE, a_ledger, a_plan, a_request

from flows.cli.display import describe_outputs, describe_rest, print_report, shown_rows
from tasks.models import FileResult, State
from tasks.results.run_report import build_report


def files(**counts: int) -> list[FileResult]:
    states: dict[str, State] = {"done": "converted", "failed": "failed"}
    return [
        FileResult(f"{name} {n}.mp4", "mp3", None, states[name])
        for name, count in counts.items()
        for n in range(count)
    ]


def test_each_of_a_few_files_has_a_row() -> None:
    few = files(done=60, failed=40)
    assert shown_rows(few) == few
    assert describe_rest(shown_rows(few), few) == ""


def test_of_many_files_only_unconverted_ones_have_a_row() -> None:
    many = files(done=1000, failed=40)
    assert shown_rows(many) == many[1000:]
    assert describe_rest(shown_rows(many), many) == "… and 1000 files converted or skipped."


def test_with_too_many_unconverted_files_a_line_counts_the_rest() -> None:
    many = files(done=1000, failed=140)
    assert len(shown_rows(many)) == 100
    assert describe_rest(shown_rows(many), many) == "… and 40 more files not converted."


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"download_to": "out", "is_fetched": True}, "out"),
        (
            {"download_to": "out", "is_fetched": False},
            "container output/talks. Run again to download them to out.",
        ),
        (
            {"download_to": "", "is_fetched": False},
            "container output/talks. To download them, run again with --download-to DIR.",
        ),
    ],
)
def test_a_line_says_where_the_outputs_are_and_how_to_download_them(
    values: dict[str, Any], line: str
) -> None:
    run = build_report(a_ledger(), now=NOW).run
    assert describe_outputs(replace(run, prefix="talks", **values)) == line


def test_brackets_in_a_folders_name_are_printed_unchanged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ledger = a_ledger(
        plan=a_plan(done=(ONE,)),
        request=a_request(output={"download_to": "out [/b]"}),
        is_fetched=True,
    )
    print_report(build_report(ledger, now=NOW))
    assert "Outputs: out [/b]\n" in capsys.readouterr().out
