"""What a run shows on its page in Prefect, before anybody draws it."""

import json
import subprocess
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from records import MP3, NOW, ONE, a_ledger, a_plan, a_request
from runs import HOSTILE, a_big_report

from tasks.media.ffmpeg_command import ffmpeg_words
from tasks.parameters import Pool, Run
from tasks.report import build_report
from tasks.results.artifacts import (
    FAILURES,
    PROGRESS,
    TABLE_ROWS,
    ProgressBar,
    about_table,
    code,
    escaped,
    in_cell,
    in_shell,
    to_markdown,
    to_rows,
)
from tasks.results.progress import Progress

REPORT = a_big_report(files=1500)
TEXT = "\n".join(to_markdown(REPORT, a_request()))


def test_the_table_has_what_is_not_converted_first_and_says_where_the_rest_is() -> None:
    rows = to_rows(REPORT.files)
    states = [row["state"] for row in rows]
    failed = REPORT.summary["failed"]
    assert (len(rows), states[:failed]) == (TABLE_ROWS, ["failed"] * failed)
    assert "failed" not in states[failed:]
    assert f"the other {len(REPORT.files) - TABLE_ROWS} too" in about_table(len(rows), REPORT)


def test_the_table_can_be_written_as_json_whatever_the_names_are() -> None:
    assert json.dumps(to_rows(REPORT.files), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "name", ["talks/day 1.mp4", "my_long_talk (final).mp4", "-dash.mp4", "a.b-c+d=e,f.mp4", "é 😀"]
)
def test_an_ordinary_name_is_as_it_was_in_a_cell(name: str) -> None:
    assert in_cell(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<img src=x>", "\\<img src=x>"),
        ("[a](b)", "\\[a\\](b)"),
        ("*a* _b_ `c`", "\\*a\\* \\_b\\_ \\`c\\`"),
        ("1. intro.mp4", "1.\u00a0intro.mp4"),
        ("# a", "#\u00a0a"),
        ("    a", "\u00a0\u00a0\u00a0\u00a0a"),
        ("line\nbreak", "line\\\\nbreak"),
        ("www.example.org", "www\\.example.org"),
    ],
)
def test_a_hostile_name_is_no_markup_in_a_cell(name: str, shown: str) -> None:
    assert in_cell(name) == shown


def test_the_report_to_read_has_totals_failures_with_reasons_pool_node_hours_and_line() -> None:
    assert f"# {escaped(REPORT.headline)}\n" in TEXT
    for word in ("| Pool |", "| Node hours |", "| Spent converting |", "53\\.06 s of 120"):
        assert word in TEXT
    assert in_shell(ffmpeg_words(MP3)) in TEXT


def test_where_nothing_was_to_be_converted_the_report_to_read_names_no_pool_and_no_job() -> None:
    report = build_report(a_ledger(plan=a_plan(done=(ONE,))), now=NOW)
    text = "\n".join(to_markdown(report, a_request()))
    assert "# 1 skipped" in text
    assert not any(word in text for word in ("| Pool |", "| Nodes |", "| Job |"))


def test_of_a_dry_run_the_report_to_read_says_which_nodes_there_would_be() -> None:
    request = a_request(run=Run(dry_run=True))
    text = "\n".join(to_markdown(build_report(a_ledger(request=request), now=NOW), request))
    assert "| Nodes | 1 Spot and 0 dedicated; " in text
    assert not any(word in text for word in ("| Pool |", "| Job |"))


def test_of_a_dry_run_on_a_shared_pool_the_report_to_read_names_that() -> None:
    request = a_request(run=Run(dry_run=True), pool=Pool(id="warm"))
    text = "\n".join(to_markdown(build_report(a_ledger(request=request), now=NOW), request))
    assert "| Pool | `warm`, shared |" in text
    assert "| Nodes |" not in text


@pytest.mark.parametrize("pool", [Pool(), Pool(id="warm")], ids=["own", "shared"])
def test_of_a_dry_run_with_nothing_to_convert_the_report_to_read_names_no_pool(pool: Pool) -> None:
    request = a_request(run=Run(dry_run=True), pool=pool)
    ledger = a_ledger(request=request, plan=a_plan())
    text = "\n".join(to_markdown(build_report(ledger, now=NOW), request))
    assert not any(word in text for word in ("| Pool |", "| Nodes |", "| Job |"))


def test_no_row_of_the_report_to_read_is_broken_by_a_name() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ")]
    for row in rows:
        assert row.replace("\\|", "").count("|") in (3, 4)
    assert not any(name in TEXT for name in HOSTILE)


def test_of_many_failures_the_report_to_read_has_some_and_counts_the_rest() -> None:
    many = "\n".join(to_markdown(a_big_report(files=211 * (FAILURES + 3)), a_request()))
    assert many.count("| failed |") == FAILURES
    assert "… and 4 more" in many


def test_a_command_is_shown_in_lines_that_a_shell_takes_as_one() -> None:
    words = ["printf", r"%s\n", *(f"--option-{n}" for n in range(30)), "it's", "$(no)", "a b"]
    _, *lines, _ = in_shell(words).splitlines()
    assert max(map(len, lines)) < 80
    printed = subprocess.run(
        ["/bin/sh"], input="\n".join(lines), text=True, check=True, capture_output=True
    )
    assert printed.stdout.splitlines() == words[2:]


@pytest.mark.parametrize(
    ("text", "shown"), [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("a|b", "`a¦b`")]
)
def test_code_holds_what_it_shows(text: str, shown: str) -> None:
    assert code(text) == shown


async def artifacts(client: PrefectClient) -> list[Any]:
    found = await client.read_artifacts()
    return [artifact for artifact in found if artifact.key == PROGRESS]


async def test_progress_moves_now_and_then_and_comes_to_its_end(in_flow: Any) -> None:
    def at(converted: int) -> Progress:
        return Progress(
            files=4, converted=converted, failed=1, running=1, nodes=1, seconds_left=None
        )

    async def run() -> list[tuple[float, str]]:
        bar = ProgressBar()
        seen = []
        async with get_client() as client:
            before = {artifact.id for artifact in await artifacts(client)}
            for seconds, converted in ((0, 0), (1, 1), (6, 2), (6.5, 3)):
                await bar.show(at(converted), elapsed_seconds=seconds)
                (found,) = [a for a in await artifacts(client) if a.id not in before]
                seen.append((found.data, found.description))
        return seen

    shown = await in_flow(run)
    assert [percent for percent, _ in shown] == [25, 25, 75, 100]
    assert shown[-1][1] == "4 of 4 files done, 1 failed, 1 running, 1 node"


async def test_outside_of_a_run_there_is_no_page(prefect_server: str) -> None:
    assert prefect_server
    progress = Progress(files=1, converted=1, failed=0, running=0, nodes=0, seconds_left=0)
    async with get_client() as client:
        before = len(await artifacts(client))
        await ProgressBar().show(progress, elapsed_seconds=0)
        assert len(await artifacts(client)) == before
