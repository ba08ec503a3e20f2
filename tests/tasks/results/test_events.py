"""The content of the events that runs and sweeps emit."""

import pytest
from records import NOW, a_ledger

from heard import listening_for
from tasks.errors import UsageError
from tasks.leftovers import Leftover
from tasks.models import FileResult
from tasks.parameters import Output
from tasks.results.events import SWEPT, announce_error, announce_sweep, describe
from tasks.results.run_report import Report, build_report, summarise

FAILED = "batch-convert.run.failed"


def a_report(*files: FileResult) -> Report:
    empty = build_report(a_ledger(), now=NOW)
    summary = summarise(files, empty.timeline)
    return Report(run=empty.run, summary=summary, files=files, timeline=empty.timeline)


def test_an_event_names_twenty_unconverted_files_and_counts_all() -> None:
    bad = [FileResult(f"{n:02}.mp4", "mp3", None, "failed", reason="cut short") for n in range(30)]
    good = FileResult("a.mp4", "mp3", "a.mp3", "converted")
    described = describe(a_report(good, *bad))
    assert described["files"] == [f"{n:02}.mp4" for n in range(20)]
    assert described["summary"]["failed"] == 30
    assert described["headline"] == "1 converted, 30 failed"


def test_a_file_that_fails_for_two_presets_is_named_once() -> None:
    twice = [FileResult("a.mp4", preset, None, "failed") for preset in ("mp3", "flac")]
    assert describe(a_report(*twice))["files"] == ["a.mp4"]


def test_names_in_an_event_are_escaped() -> None:
    bad = FileResult("\udcff\x1b.mp4", "mp3", None, "failed")
    assert describe(a_report(bad))["files"] == ["\\udcff\\x1b.mp4"]


@pytest.mark.usefixtures("prefect_server")
async def test_an_event_has_the_text_of_our_errors_and_only_the_type_of_others() -> None:
    output = Output(container="errors", prefix="talks/")
    async with listening_for(FAILED, about="az://errors/talks") as next_event:
        announce_error(UsageError("No source is named.", "Name one."), output)
        assert (await next_event()).payload["headline"] == "No source is named. Name one."
        announce_error(ValueError("https://s/?sig=canary"), output)
        assert (await next_event()).payload["headline"] == "ValueError"


@pytest.mark.usefixtures("prefect_server")
async def test_the_event_of_a_sweep_names_what_it_deleted() -> None:
    leftovers = [Leftover(kind, "a", "0" * 16, NOW) for kind in ("pool", "job", "pool")]
    async with listening_for(SWEPT, about="az://swept") as next_event:
        announce_sweep([], "swept")
        announce_sweep(leftovers, "swept")
        payload = (await next_event()).payload
    assert payload["headline"] == "Deleted job: 1, pool: 2"
    assert payload["leftovers"] == ["pool a", "job a", "pool a"]
