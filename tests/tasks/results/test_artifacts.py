"""The artifacts of a run as data, before Prefect shows them."""

import json
import re
import subprocess
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from records import MP3, NOW, ONE, a_ledger, a_plan, a_pool, a_request
from runs import HOSTILE, a_big_report

from tasks.media.ffmpeg_command import ffmpeg_words
from tasks.models import FileResult
from tasks.parameters import Output, Pool, Run
from tasks.results.artifact_keys import make_key
from tasks.results.artifacts import (
    FAILURES,
    REASON_WIDTH,
    TABLE_ROWS,
    ProgressArtifact,
    code_span,
    escape_cell,
    escape_markdown,
    markdown_lines,
    shell_block,
    table_description,
    table_rows,
)
from tasks.results.progress import Progress
from tasks.results.run_report import build_report

REPORT = a_big_report(files=1500)
TEXT = "\n".join(markdown_lines(REPORT, a_request()))


def test_the_table_has_unconverted_files_first_and_says_where_the_rest_is() -> None:
    rows = table_rows(REPORT.files)
    states = [row["state"] for row in rows]
    failed = REPORT.summary.failed
    assert (len(rows), states[:failed]) == (TABLE_ROWS, ["failed"] * failed)
    assert "failed" not in states[failed:]
    assert f"the other {len(REPORT.files) - TABLE_ROWS} too" in table_description(len(rows), REPORT)


def test_the_table_is_valid_json_for_all_names() -> None:
    assert json.dumps(table_rows(REPORT.files), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "name", ["talks/day 1.mp4", "my_long_talk (final).mp4", "-dash.mp4", "a.b-c+d=e,f.mp4", "é 😀"]
)
def test_an_ordinary_name_stays_unchanged_in_a_cell(name: str) -> None:
    assert escape_cell(name) == name


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
def test_a_hostile_name_is_escaped_in_a_cell(name: str, shown: str) -> None:
    assert escape_cell(name) == shown


def test_the_text_has_totals_reasons_pool_node_hours_and_the_ffmpeg_command() -> None:
    assert f"# {escape_markdown(REPORT.headline)}\n" in TEXT
    for word in ("| Pool |", "| Node hours |", "| Time converting |", "53\\.06 s of 120\\.07 s"):
        assert word in TEXT
    assert shell_block(ffmpeg_words(MP3)) in TEXT


def test_with_nothing_to_convert_the_text_names_no_pool_and_no_job() -> None:
    report = build_report(a_ledger(plan=a_plan(done=(ONE,))), now=NOW)
    text = "\n".join(markdown_lines(report, a_request()))
    assert "# 1 skipped" in text
    assert not any(word in text for word in ("| Pool |", "| Nodes |", "| Job |"))


def test_the_text_of_a_dry_run_has_the_nodes_that_it_would_use() -> None:
    request = a_request(run=Run(dry_run=True))
    text = "\n".join(markdown_lines(build_report(a_ledger(request=request), now=NOW), request))
    assert "| Nodes | 1 Spot and 0 dedicated; " in text
    assert not any(word in text for word in ("| Pool |", "| Job |"))


def test_the_text_of_a_dry_run_names_the_shared_pool() -> None:
    request = a_request(run=Run(dry_run=True), pool=a_pool(id="warm"))
    text = "\n".join(markdown_lines(build_report(a_ledger(request=request), now=NOW), request))
    assert "| Pool | `warm`, shared |" in text
    assert "| Nodes |" not in text


@pytest.mark.parametrize("pool", [a_pool(), a_pool(id="warm")], ids=["own", "shared"])
def test_the_text_of_a_dry_run_with_nothing_to_convert_names_no_pool(pool: Pool) -> None:
    request = a_request(run=Run(dry_run=True), pool=pool)
    ledger = a_ledger(request=request, plan=a_plan())
    text = "\n".join(markdown_lines(build_report(ledger, now=NOW), request))
    assert not any(word in text for word in ("| Pool |", "| Nodes |", "| Job |"))


def test_no_name_breaks_a_line_of_the_text() -> None:
    lines = TEXT.splitlines()
    for row in (line for line in lines if line.startswith("| ")):
        assert row.replace("\\|", "").count("|") == 3
    listed = [line for line in lines if line.startswith("- **")]
    assert len(listed) == REPORT.summary.failed
    assert not any(name in TEXT for name in HOSTILE)


def test_the_text_has_some_of_many_failures_and_counts_the_rest() -> None:
    many = "\n".join(markdown_lines(a_big_report(files=211 * (FAILURES + 3)), a_request()))
    assert many.count(", failed: ") == FAILURES
    assert "… and 4 more" in many


def test_a_command_on_several_lines_is_one_command_for_the_shell() -> None:
    words = ["printf", r"%s\n", *(f"--option-{n}" for n in range(30)), "it's", "$(no)", "a b"]
    _, *lines, _ = shell_block(words).splitlines()
    assert max(map(len, lines)) < 90
    printed = subprocess.run(
        ["/bin/sh"], input="\n".join(lines), text=True, check=True, capture_output=True
    )
    assert printed.stdout.splitlines() == words[2:]


def test_a_command_breaks_only_before_options() -> None:
    _, *lines, _ = shell_block(ffmpeg_words(MP3)).splitlines()
    assert len(lines) > 1
    assert all(line.startswith("    -") for line in lines[1:])


def test_a_long_reason_is_broken_between_words_in_a_cell_of_the_table() -> None:
    reason = "53.06 s of 120.07 s were converted (ffmpeg: partial file; " + "- invalid data, " * 9
    (row,) = table_rows([FileResult("a.mp4", "mp3", None, "failed", reason=f"{reason}too)")])
    lines = row["output or reason"].split("\n")
    assert max(map(len, lines)) <= REASON_WIDTH
    assert " ".join(lines).replace("\u00a0", " ") == f"{reason}too)"


def test_a_long_name_of_an_output_stays_in_one_line() -> None:
    name = "a long name " * 20 + ".mp3"
    (row,) = table_rows([FileResult("a.mp4", "mp3", name, "converted")])
    assert row["output or reason"] == name


@pytest.mark.parametrize(
    ("output", "deployment", "key"),
    [
        (Output(), "convert-media", "convert-media-mp3-report"),
        (Output(presets=["flac", "mp3"]), "nightly", "convert-nightly-flac-mp3-report"),
        (Output(), "", "convert-output-mp3-report"),
        (Output(container="talks", prefix="2026/Vorträge"), "", "convert-talks-2026-vortrage-mp3"),
    ],
)
def test_artifacts_have_a_history_for_each_deployment_or_output(
    output: Output, deployment: str, key: str
) -> None:
    made = make_key("report", output, deployment=deployment)
    assert made.removesuffix("-report") == key.removesuffix("-report")
    assert re.fullmatch(r"[a-z0-9-]+", made)


@pytest.mark.parametrize(
    ("text", "shown"), [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("a|b", "`a¦b`")]
)
def test_a_code_span_shows_its_text(text: str, shown: str) -> None:
    assert code_span(text) == shown


async def artifacts(client: PrefectClient) -> list[Any]:
    found = await client.read_artifacts()
    return [artifact for artifact in found if artifact.type == "progress"]


async def test_the_progress_moves_every_few_seconds_and_at_the_end(in_flow: Any) -> None:
    def at(converted: int) -> Progress:
        return Progress(
            files=4, converted=converted, failed=1, running=1, nodes=1, seconds_left=None
        )

    async def run() -> list[tuple[float, str]]:
        artifact = ProgressArtifact()
        seen = []
        async with get_client() as client:
            before = {artifact.id for artifact in await artifacts(client)}
            for seconds, converted in ((0, 0), (1, 1), (6, 2), (6.5, 3)):
                await artifact.show(at(converted), elapsed_seconds=seconds)
                (found,) = [a for a in await artifacts(client) if a.id not in before]
                seen.append((found.data, found.description))
        return seen

    shown = await in_flow(run)
    assert [percent for percent, _ in shown] == [25, 25, 75, 100]
    assert shown[-1][1] == "4 of 4 files done, 1 failed, 1 running, 1 node"


async def test_outside_of_a_flow_run_no_artifact_is_made(prefect_server: str) -> None:
    assert prefect_server
    progress = Progress(files=1, converted=1, failed=0, running=0, nodes=0, seconds_left=0)
    async with get_client() as client:
        before = len(await artifacts(client))
        await ProgressArtifact().show(progress, elapsed_seconds=0)
        assert len(await artifacts(client)) == before
