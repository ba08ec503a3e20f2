from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import (
    NOW,
    ONE,
    a_batch_result,
    a_conversion,
    a_ledger,
    a_plan,
    a_request,
    a_source,
    proof_of,
)

from tasks.media.presets import PRESETS
from tasks.models import (
    BatchResult,
    Conversion,
    Diagnosis,
    Evidence,
    KnownFailure,
    Plan,
    Refusal,
    State,
)
from tasks.parameters import Run
from tasks.results.ledger import decide_state, failure_reason, file_results

DIAGNOSIS = Diagnosis("DeadlinePassed", "The deadline has passed.", "", "Run again.")
NOTHING = Evidence({}, {}, {})


@pytest.mark.parametrize(
    ("found", "evidence", "expected"),
    [
        (a_batch_result("succeeded"), proof_of(ONE), ("converted", None)),
        (None, NOTHING, ("not_started", "the run was stopped")),
        (a_batch_result("running"), NOTHING, ("interrupted", "the run was stopped")),
        (
            a_batch_result("failed", code="TaskEnded", node="n"),
            NOTHING,
            ("interrupted", "the run was stopped"),
        ),
        (
            a_batch_result("failed", code="TaskEnded"),
            NOTHING,
            ("not_started", "the run was stopped"),
        ),
        (a_batch_result("failed", code="DiskFull"), NOTHING, ("failed", "DiskFull")),
        (
            a_batch_result("succeeded"),
            NOTHING,
            ("failed", "Batch reports success, but the output does not exist"),
        ),
    ],
)
def test_the_state_follows_from_the_output_and_the_batch_result(
    found: BatchResult | None, evidence: Evidence, expected: tuple[str, str | None]
) -> None:
    assert decide_state(ONE, found, a_ledger(evidence=evidence)) == expected


@pytest.mark.parametrize(
    "found", [a_batch_result("running"), a_batch_result("failed", code="DiskFull"), None]
)
def test_a_conversion_with_its_output_is_converted_for_every_batch_result(
    found: BatchResult | None,
) -> None:
    assert decide_state(ONE, found, a_ledger(evidence=proof_of(ONE))) == ("converted", None)


def test_with_force_an_earlier_output_does_not_count() -> None:
    ledger = a_ledger(evidence=proof_of(ONE), request=a_request(run=Run(force=True)))
    assert decide_state(ONE, None, ledger)[0] == "not_started"
    assert decide_state(ONE, a_batch_result("failed", code="DiskFull"), ledger)[0] == "failed"
    assert decide_state(ONE, a_batch_result("succeeded"), ledger)[0] == "converted"


def test_an_output_with_another_key_does_not_count() -> None:
    ledger = a_ledger(evidence=Evidence({"0" * 32: 9}, {}, {}))
    assert decide_state(ONE, a_batch_result("succeeded"), ledger)[0] == "failed"


UNREAD = ("interrupted", "submitted; its result could not be read")


@pytest.mark.parametrize("found", [None, a_batch_result("succeeded"), a_batch_result("running")])
def test_a_conversion_whose_result_could_not_be_read_is_interrupted(
    found: BatchResult | None,
) -> None:
    ledger = a_ledger(unread=frozenset({ONE.key}), diagnosis=DIAGNOSIS)
    assert decide_state(ONE, found, ledger) == UNREAD


def test_a_conversion_whose_result_could_not_be_read_is_converted_if_its_output_exists() -> None:
    ledger = a_ledger(unread=frozenset({ONE.key}), evidence=proof_of(ONE))
    assert decide_state(ONE, None, ledger) == ("converted", None)


def test_a_second_attempt_whose_result_could_not_be_read_has_not_failed() -> None:
    ledger = a_ledger(unread=frozenset({ONE.key}))
    first = a_batch_result("failed", code="BlobDownloadMiscError")
    assert decide_state(ONE, first, ledger) == UNREAD


def test_a_failure_of_an_excerpt_is_no_verdict_about_its_source() -> None:
    failed = a_batch_result("failed", exit_code=65, code="FailureExitCode", node="n")
    ledger = a_ledger(diagnosis=DIAGNOSIS, excerpts={1: {ONE.key}})
    assert decide_state(ONE, failed, ledger) == ("interrupted", "The deadline has passed.")
    whole = a_batch_result("failed", exit_code=65, code="FailureExitCode", attempt=2)
    assert decide_state(ONE, whole, ledger)[0] == "failed"


def test_the_diagnosis_is_the_reason_for_files_that_it_stopped() -> None:
    ledger = a_ledger(diagnosis=DIAGNOSIS)
    assert decide_state(ONE, None, ledger) == ("not_started", "The deadline has passed.")
    assert decide_state(ONE, a_batch_result("running"), ledger) == (
        "interrupted",
        "The deadline has passed.",
    )


EXIT = a_batch_result("failed", code="FailureExitCode", message="The task exited", exit_code=65)


@pytest.mark.parametrize(
    ("found", "tail", "expected"),
    [
        (EXIT, "runner: it is cut short\n", "it is cut short"),
        (EXIT, "runner-version: lavf 59.27.100\nrunner: it is cut short", "it is cut short"),
        (
            EXIT,
            "[mp3 @ 0x55d0c0ffee] bad header\nrunner: it is cut short",
            "it is cut short (ffmpeg: bad header)",
        ),
        (
            EXIT,
            "one\ntwo\n\nthree\nfour\n",
            "ffmpeg failed with status 65 (ffmpeg: two; three; four)",
        ),
        (EXIT, "", "FailureExitCode: The task exited"),
        (
            a_batch_result("failed", code="FileUploadMiscError", message="no"),
            "a warning",
            "FileUploadMiscError: no (ffmpeg: a warning)",
        ),
        (a_batch_result("failed"), "", "it failed"),
    ],
)
def test_the_reason_comes_from_the_runner_ffmpeg_or_batch(
    found: BatchResult, tail: str, expected: str
) -> None:
    assert failure_reason(found, tail) == expected


SOURCES = [a_source(f"{n}.mp4") for n in range(6)]
CONVERSIONS = [a_conversion(source) for source in SOURCES]
PARTS = st.lists(st.sampled_from(["pending", "done", "refused"]), min_size=6, max_size=6)
BATCH_RESULTS = st.lists(
    st.builds(
        BatchResult,
        st.sampled_from([c.key for c in CONVERSIONS]),
        st.integers(1, 2),
        st.sampled_from(["succeeded", "failed", "running"]),
        code=st.sampled_from(["", "TaskEnded", "DiskFull", "FailureExitCode"]),
    )
)


@given(
    PARTS,
    BATCH_RESULTS,
    st.sets(st.sampled_from(CONVERSIONS)),
    st.sets(st.sampled_from(CONVERSIONS)),
    st.builds(Run, dry_run=st.booleans(), force=st.booleans()),
)
def test_every_source_is_in_exactly_one_state(
    parts: list[str],
    batch_results: list[BatchResult],
    proven: set[Conversion],
    refused: set[Conversion],
    run: Run,
) -> None:
    def part(name: str) -> list[Conversion]:
        return [c for c, p in zip(CONVERSIONS, parts, strict=True) if p == name]

    plan = Plan(
        pending=tuple(part("pending")),
        done=tuple(part("done")),
        refused=tuple(Refusal(c.source, "bad") for c in part("refused")),
    )
    refusals = tuple(
        Refusal(c.source, "late", c.output, c.preset) for c in part("pending") if c in refused
    )
    rows = file_results(
        a_ledger(
            plan=plan,
            refusals=refusals,
            batch_results=tuple(batch_results),
            evidence=proof_of(*proven),
            request=a_request(run=run),
        )
    )
    assert [row.source for row in rows] == [source.name for source in SOURCES]
    assert {row.state for row in rows} <= set(get_args(State))
    assert all(bool(row.reason) is (row.state != "converted") for row in rows)


def test_a_source_has_a_row_for_each_preset_and_one_that_cannot_be_read_too() -> None:
    flac, webm = (a_conversion(preset=PRESETS[name]) for name in ("flac", "webm"))
    refused = (
        Refusal(webm.source, "it has no video stream", preset="webm"),
        Refusal(a_source("b.mp4"), "bad"),
    )
    rows = file_results(
        a_ledger(
            plan=a_plan(ONE, flac, refused=refused),
            evidence=proof_of(flac),
            refusals=(Refusal(ONE.source, "late", ONE.output, "mp3"),),
            request=a_request(output={"presets": ["webm", "flac", "mp3"]}),
        )
    )
    assert [(row.source, row.preset, row.state, row.reason) for row in rows] == [
        ("a.mp4", "mp3", "failed", "late"),
        ("a.mp4", "flac", "converted", None),
        ("a.mp4", "webm", "failed", "it has no video stream"),
        ("b.mp4", "mp3", "failed", "bad"),
        ("b.mp4", "flac", "failed", "bad"),
        ("b.mp4", "webm", "failed", "bad"),
    ]


def test_a_row_has_all_that_is_known_about_its_file() -> None:
    first = a_batch_result("failed", tries=2, code="BlobDownloadTimedOut")
    second = a_batch_result("succeeded", attempt=2, exit_code=0, node="n", seconds=1.5)
    (row,) = file_results(a_ledger(batch_results=(second, first), evidence=proof_of(ONE)))
    assert (row.source, row.output, row.state) == ("a.mp4", "a.mp3", "converted")
    assert (row.attempts, row.node, row.exit_code, row.seconds) == (3, "n", 0, 1.5)
    assert (row.source_seconds, row.output_seconds, row.output_bytes) == (3.5, 3.4, 9)


OUTDATED, EARLIER = (replace(ONE, existing=existing) for existing in ("outdated", "earlier"))


@pytest.mark.parametrize(
    ("conversion", "note"),
    [
        (ONE, None),
        (replace(ONE, existing="current"), None),
        (OUTDATED, "it replaced an earlier output: the source or the options have changed"),
        (EARLIER, "it replaced the output of an earlier version of preset mp3"),
    ],
)
def test_the_row_of_a_new_output_says_which_earlier_output_it_replaced(
    conversion: Conversion, note: str | None
) -> None:
    (row,) = file_results(a_ledger(plan=a_plan(conversion), evidence=proof_of(conversion)))
    assert (row.state, row.reason, row.note) == ("converted", None, note)
    assert row.output_or_reason == ("a.mp3" if note is None else f"a.mp3 ({note})")


def test_the_row_of_a_skipped_file_says_that_an_earlier_version_converted_it() -> None:
    (row,) = file_results(a_ledger(plan=a_plan(done=(EARLIER,))))
    assert row.reason == (
        "it was converted by an earlier version of preset mp3; --force converts it again"
    )
    assert row.output_or_reason == "a.mp3 (an earlier version of preset mp3 converted it)"


def test_the_row_of_a_file_that_is_not_converted_has_no_note() -> None:
    (row,) = file_results(a_ledger(plan=a_plan(OUTDATED)))
    assert (row.state, row.note) == ("not_started", None)


def test_a_dry_run_says_which_files_it_would_convert_again() -> None:
    ledger = a_ledger(plan=a_plan(OUTDATED), request=a_request(run=Run(dry_run=True)))
    (row,) = file_results(ledger)
    assert row.reason == "it would be converted again: the source or the options have changed"


def test_a_row_that_was_converted_from_another_source_has_failed() -> None:
    results = a_batch_result("succeeded"), a_batch_result("failed", exit_code=75)
    for found in results:
        ledger = a_ledger(evidence=Evidence({}, {}, {}, source_problems={ONE.key: "replaced"}))
        assert decide_state(ONE, found, ledger) == ("failed", "replaced")


def test_rows_of_sources_with_one_name_are_sorted_by_path() -> None:
    sources = [a_source(location=f"/{folder}/a.mp4") for folder in "yx"]
    pending, done, bad = (
        a_conversion(s, output=f"{n}.mp3") for n, s in enumerate([*sources, ONE.source])
    )
    plan = a_plan(pending, done=(done,), refused=(Refusal(bad.source, "bad"),))
    rows = file_results(a_ledger(plan=plan))
    assert [row.path for row in rows] == ["/library/a.mp4", "/x/a.mp4", "/y/a.mp4"]


def test_all_existing_outputs_can_be_downloaded() -> None:
    done, other = a_conversion(a_source("b.mp4")), a_conversion(a_source("c.mp4"))
    ledger = a_ledger(plan=a_plan(ONE, other, done=(done,)), evidence=proof_of(ONE))
    assert sorted(ledger.converted) == ["a.mp3", "b.mp3"]


def test_a_known_failure_fails_with_the_day_of_the_earlier_run_and_the_flag_that_tries_again() -> (
    None
):
    plan = a_plan(known_failures=(KnownFailure(ONE, "it is cut short", NOW),))
    (row,) = file_results(a_ledger(plan=plan))
    assert (row.state, row.attempts, row.known_since) == ("failed", 0, NOW)
    assert (
        row.reason == "it is cut short (in an earlier run, 2026-11-22; --retry-failed tries again)"
    )
    assert (row.output, row.key) == (ONE.output, ONE.key)


@pytest.mark.parametrize(("dry_run", "warnings"), [(True, ("It has odd tags.",)), (False, ())])
def test_only_a_dry_run_warns_about_outputs_that_do_not_exist(
    *, dry_run: bool, warnings: tuple[str, ...]
) -> None:
    odd = replace(ONE, warnings=("It has odd tags.",), track="sound track 1 of 2")
    (row,) = file_results(a_ledger(plan=a_plan(odd), request=a_request(run={"dry_run": dry_run})))
    assert (row.state, row.warnings, row.track is not None) == ("not_started", warnings, dry_run)
