import logging
from dataclasses import replace
from typing import Any

import pytest
from records import NOW, ONE, a_conversion, a_ledger, a_plan, a_request, a_source

from flows.cli.display import (
    Display,
    describe_outputs,
    describe_rest,
    print_leftovers,
    print_report,
    shown_rows,
    totals,
)
from tasks.leftovers import Leftover
from tasks.models import Check, Diagnosis, Excerpt, Excerpted, FileResult, State
from tasks.parameters import Run
from tasks.results.listeners import publish
from tasks.results.progress import Progress
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


@pytest.mark.parametrize(
    ("sent_bytes", "line"),
    [
        (2_000_000, "Uploaded: 2.0 MB for 70.0 MB of sources."),
        (70_000_000, "Uploaded: 70.0 MB."),
        (0, None),
    ],
    ids=["excerpts", "whole files", "nothing"],
)
def test_the_totals_say_what_was_uploaded_for_how_much(sent_bytes: int, line: str | None) -> None:
    film = replace(ONE, source=replace(ONE.source, size_bytes=70_000_000))
    ledger = a_ledger(plan=a_plan(film), sent={film.key: sent_bytes} if sent_bytes else {})
    uploads = [text for text in totals(build_report(ledger, now=NOW)) if "pload" in text]
    assert uploads == ([line] if line else [])


def test_a_dry_run_says_what_it_would_upload_and_the_nodes_that_it_would_use_in_azure() -> None:
    sound = Excerpted(Excerpt((0,), "mov"), 2_000_000, (), (), ())
    film = replace(ONE, source=replace(ONE.source, size_bytes=70_000_000), excerpted=sound)
    ledger = a_ledger(plan=a_plan(film), request=a_request(run=Run(dry_run=True)))
    files, pool, estimate = totals(build_report(ledger, now=NOW))
    assert files.endswith("; 1 file to upload (2.0 MB for 70.0 MB of sources).")
    assert pool.endswith(" nodes of size Standard_D2ds_v5. Each converts 2 files in parallel.")
    assert estimate.startswith("Estimate for Azure: ")


HOSTILE = "[/b][live]\x1b[31m\u202e\x9b"
SHOWN = "[/b][live]\\x1b[31m\\u202e\\x9b"


def test_a_report_prints_all_text_from_outside_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = a_ledger(
        plan=a_plan(done=(a_conversion(a_source(f"{HOSTILE}\nname.mp4")),)),
        request=a_request(output={"download_to": HOSTILE}),
        diagnosis=Diagnosis("X", f"{HOSTILE}.", f"Node n printed: {HOSTILE}\nb", "Run."),
    )
    print_report(build_report(ledger, now=NOW))
    printed = capsys.readouterr().out
    assert f"{SHOWN}\\nname.mp4" in printed
    assert f"{SHOWN}. Node n printed: {SHOWN}\n  b Run.\n" in printed
    assert f"Run again to download them to {SHOWN}.\n" in printed
    assert not any(char in printed for char in "\x1b\u202e\x9b")


def test_checks_are_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    check = Check("pools [/b]", "failed", detail=HOSTILE, remedy="Ask.")
    ledger = a_ledger(request=a_request(run=Run(dry_run=True)), checks=(check,))
    print_report(build_report(ledger, now=NOW))
    printed = capsys.readouterr().out
    assert "pools [/b]" in printed
    assert f"{SHOWN} Ask." in printed


def test_leftovers_are_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_leftovers([Leftover("pool", HOSTILE, "", NOW)], are_deleted=False)
    assert f"pool    {SHOWN}  expired" in capsys.readouterr().out


def test_log_lines_and_progress_are_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    with Display().showing():
        logging.getLogger("tasks.x").warning("%s", f"{HOSTILE}\n12:00:00 forged")
        publish(Progress(9, 1, 0, 1, 1, None))
    printed = capsys.readouterr().err
    assert f" {SHOWN}\n  12:00:00 forged\n1 of 9 files done" in printed


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
