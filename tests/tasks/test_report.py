import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import NOW, a_conversion, a_request, a_source, a_ticket

from tasks.errors import ReportUnwrittenError
from tasks.models import (
    Check,
    Conversion,
    Diagnosis,
    Evidence,
    NodeLife,
    Outcome,
    Plan,
    Refusal,
    Span,
    State,
)
from tasks.parameters import Limits, Pool, Run
from tasks.presets import PRESETS
from tasks.report import Ledger, Report, build_report, explain, judge, settle, write_report
from tasks.timeline import RANKS

DIAGNOSIS = Diagnosis("DeadlinePassed", "The deadline has passed.", "", "Run again.")
ONE = a_conversion(seconds=3.5)
NOTHING = Evidence({}, {}, {})


def there(*conversions: Conversion) -> Evidence:
    keys = [conversion.key for conversion in conversions]
    return Evidence(dict.fromkeys(keys, 9), dict.fromkeys(keys, 3.4), {})


def a_plan(*pending: Conversion, **parts: Any) -> Plan:
    return Plan(**({"pending": pending, "done": (), "refused": ()} | parts))


def a_ledger(**values: Any) -> Ledger:
    given_values = {
        "plan": a_plan(ONE),
        "request": a_request(),
        "ticket": a_ticket(now=NOW),
        "evidence": NOTHING,
    }
    return Ledger(**(given_values | values))


def outcome(state: Any, **values: Any) -> Outcome:
    return Outcome(ONE.key, values.pop("attempt", 1), state, **values)


@pytest.mark.parametrize(
    ("found", "evidence", "expected"),
    [
        (outcome("succeeded"), there(ONE), ("converted", None)),
        (None, NOTHING, ("not_started", "the run was stopped")),
        (outcome("running"), NOTHING, ("interrupted", "the run was stopped")),
        (
            outcome("failed", code="TaskEnded", node="n"),
            NOTHING,
            ("interrupted", "the run was stopped"),
        ),
        (outcome("failed", code="TaskEnded"), NOTHING, ("not_started", "the run was stopped")),
        (outcome("failed", code="DiskFull"), NOTHING, ("failed", "DiskFull")),
        (
            outcome("succeeded"),
            NOTHING,
            ("failed", "Batch says that it succeeded, but its output is not there"),
        ),
    ],
)
def test_a_state_follows_from_the_output_and_the_outcome(
    found: Outcome | None, evidence: Evidence, expected: tuple[str, str | None]
) -> None:
    assert judge(ONE, found, a_ledger(evidence=evidence)) == expected


@pytest.mark.parametrize("found", [outcome("running"), outcome("failed", code="DiskFull"), None])
def test_what_has_its_output_is_converted_whatever_batch_says(found: Outcome | None) -> None:
    assert judge(ONE, found, a_ledger(evidence=there(ONE))) == ("converted", None)


def test_by_force_an_output_from_before_does_not_count() -> None:
    ledger = a_ledger(evidence=there(ONE), request=a_request(run=Run(force=True)))
    assert judge(ONE, None, ledger)[0] == "not_started"
    assert judge(ONE, outcome("failed", code="DiskFull"), ledger)[0] == "failed"
    assert judge(ONE, outcome("succeeded"), ledger)[0] == "converted"


def test_an_output_under_another_key_is_no_proof() -> None:
    ledger = a_ledger(evidence=Evidence({"0" * 32: 9}, {}, {}))
    assert judge(ONE, outcome("succeeded"), ledger)[0] == "failed"


def test_what_a_diagnosis_stopped_says_so() -> None:
    ledger = a_ledger(diagnosis=DIAGNOSIS)
    assert judge(ONE, None, ledger) == ("not_started", "The deadline has passed.")
    assert judge(ONE, outcome("running"), ledger) == ("interrupted", "The deadline has passed.")


EXIT = outcome("failed", code="FailureExitCode", message="The task exited", exit_code=65)


@pytest.mark.parametrize(
    ("found", "tail", "expected"),
    [
        (EXIT, "runner: it is cut short\n", "it is cut short"),
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
            outcome("failed", code="FileUploadMiscError", message="no"),
            "a warning",
            "FileUploadMiscError: no (ffmpeg: a warning)",
        ),
        (outcome("failed"), "", "it failed"),
    ],
)
def test_a_failure_is_told_in_the_words_of_who_noticed_it(
    found: Outcome, tail: str, expected: str
) -> None:
    assert explain(found, tail) == expected


SOURCES = [a_source(f"{n}.mp4") for n in range(6)]
CONVERSIONS = [a_conversion(source) for source in SOURCES]
PARTS = st.lists(st.sampled_from(["pending", "done", "refused"]), min_size=6, max_size=6)
OUTCOMES = st.lists(
    st.builds(
        Outcome,
        st.sampled_from([c.key for c in CONVERSIONS]),
        st.integers(1, 2),
        st.sampled_from(["succeeded", "failed", "running"]),
        code=st.sampled_from(["", "TaskEnded", "DiskFull", "FailureExitCode"]),
    )
)


@given(
    PARTS,
    OUTCOMES,
    st.sets(st.sampled_from(CONVERSIONS)),
    st.sets(st.sampled_from(CONVERSIONS)),
    st.builds(Run, dry_run=st.booleans(), force=st.booleans()),
)
def test_every_source_is_in_exactly_one_state(
    parts: list[str],
    outcomes: list[Outcome],
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
    rows = settle(
        a_ledger(
            plan=plan,
            refusals=refusals,
            outcomes=tuple(outcomes),
            evidence=there(*proven),
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
    rows = settle(
        a_ledger(
            plan=a_plan(ONE, flac, refused=refused),
            evidence=there(flac),
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


def test_a_row_has_all_that_is_known_of_its_file() -> None:
    first = outcome("failed", tries=2, code="BlobDownloadTimedOut")
    second = outcome("succeeded", attempt=2, exit_code=0, node="n", seconds=1.5)
    (row,) = settle(a_ledger(outcomes=(second, first), evidence=there(ONE)))
    assert (row.source, row.output, row.state) == ("a.mp4", "a.mp3", "converted")
    assert (row.attempts, row.node, row.exit_code, row.seconds) == (3, "n", 0, 1.5)
    assert (row.source_seconds, row.output_seconds, row.output_bytes) == (3.5, 3.4, 9)


def a_report(**values: Any) -> Report:
    return build_report(a_ledger(**values), now=NOW + timedelta(seconds=90))


def test_the_summary_counts_the_states_and_adds_up_the_files() -> None:
    done = a_conversion(a_source("b.mp4"))
    refused = Refusal(a_source("c.mp4"), "bad")
    report = a_report(
        plan=a_plan(ONE, done=(done,), refused=(refused,)),
        outcomes=(outcome("succeeded"),),
        evidence=there(ONE),
    )
    assert report.headline == "1 converted, 1 skipped, 1 failed"
    assert not report.is_success
    assert report.summary == {
        "converted": 1,
        "skipped": 1,
        "failed": 1,
        "not_started": 0,
        "interrupted": 0,
        "files": 3,
        "seconds": 90.0,
        "source_seconds": 3.5,
        "output_bytes": 9,
        "node_hours": dict.fromkeys(RANKS, 0),
        "converting_share": None,
        "slot_share": None,
        "cost": None,
    }


def test_a_dry_run_that_finds_something_wrong_is_no_success() -> None:
    request = a_request(run=Run(dry_run=True))
    wrong = Check("clock", "failed", "It is wrong.", "Set it right.")
    report = a_report(request=request, checks=(Check("nodes"), wrong))
    assert not report.is_success
    assert report.run["dry_run"]["checks"][1]["detail"] == "It is wrong."


def test_by_a_price_the_run_and_each_file_have_a_cost() -> None:
    request = a_request(limits=Limits(price_per_node_hour=2))
    nodes = (NodeLife("n", "spot", allocated_at=NOW, seen_at=NOW),)
    outcomes = (outcome("succeeded", seconds=3.0),)
    report = a_report(request=request, outcomes=outcomes, evidence=there(ONE), nodes=nodes)
    assert report.summary["cost"] == 2 * 90 / 3600
    assert [file.cost for file in report.files] == [2 * 90 / 3600]


def test_a_run_succeeds_when_all_is_converted_or_skipped() -> None:
    assert a_report(outcomes=(outcome("succeeded"),), evidence=there(ONE)).is_success
    assert not a_report().is_success


def test_a_dry_run_foresees_uploads_nodes_and_conversions() -> None:
    twin = a_conversion(a_source("b.mp4"))
    blob = a_conversion(a_source("c.mp4", location="az://media/c.mp4"), content="c1")
    request = a_request(run=Run(dry_run=True), pool=Pool(dedicated_nodes=1))
    report = a_report(plan=a_plan(ONE, twin, blob), request=request)
    assert report.is_success
    foreseen = report.run["dry_run"]
    assert (foreseen["uploads"], foreseen["upload_bytes"], foreseen["conversions"]) == (1, 7, 3)
    assert (foreseen["spot_nodes"], foreseen["dedicated_nodes"]) == (1, 1)
    assert {row.state for row in report.files} == {"not_started"}


def test_what_can_be_downloaded_is_all_that_is_there() -> None:
    done, other = a_conversion(a_source("b.mp4")), a_conversion(a_source("c.mp4"))
    ledger = a_ledger(plan=a_plan(ONE, other, done=(done,)), evidence=there(ONE))
    assert sorted(ledger.converted) == ["a.mp3", "b.mp3"]


def test_the_report_file_is_what_the_report_says(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.json"
    request = a_request(output={"report": str(path)})
    plan = a_plan(a_conversion(a_source("\udcff é.mp4"), output="%FF é.mp3"))
    report = write_report(a_ledger(request=request, plan=plan, diagnosis=DIAGNOSIS))
    content = json.loads(path.read_text())
    assert content["run"]["diagnosis"]["code"] == "DeadlinePassed"
    assert content["files"][0]["source"] == "\udcff é.mp4"
    assert content["summary"] == dict(report.summary)
    assert content["run"]["picture"].startswith("reports/20261122T120000Z-")
    assert sorted(p.name for p in path.parent.iterdir()) == ["r.html", "r.json"]


def test_the_report_tells_what_the_time_of_each_node_went_into(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    minutes = [NOW + timedelta(minutes=n) for n in range(5)]
    node = NodeLife(
        "n", "spot", minutes[0], minutes[4], start_tasks=(Span("start", *minutes[1:3]),)
    )
    converted = outcome("succeeded", node="n", started_at=minutes[2], ended_at=minutes[3])
    ledger = a_ledger(
        request=a_request(output={"report": str(path)}), nodes=(node,), outcomes=(converted,)
    )
    report = build_report(ledger, now=minutes[4])
    minute = round(1 / 60, 6)
    hours = {"boot": minute, "start_task": minute, "converting": minute, "idle": minute}
    told = json.loads("".join(report.as_json()))
    (used,) = told["nodes"]
    assert (used["id"], used["hours"], used["conversions"]) == ("n", hours, 1)
    assert report.summary["node_hours"] == dict.fromkeys(RANKS, 0) | hours
    assert report.summary["converting_share"] == 0.25
    assert told["files"][0]["started_at"] == "2026-11-22T12:02:00.000+00:00"


def test_a_report_that_cannot_be_written_is_an_error_that_bears_it(small_disk: Path) -> None:
    path = small_disk / "r.json"
    (small_disk / "full").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(ReportUnwrittenError, match="No space left on device") as caught:
        write_report(a_ledger(request=a_request(output={"report": str(path)})))
    assert isinstance(caught.value.report, Report)
    assert str(path) in str(caught.value)
    assert [each.name for each in small_disk.iterdir()] == ["full"]


def test_a_file_that_is_no_picture_of_ours_is_kept_aside(tmp_path: Path) -> None:
    report, picture = tmp_path / "index.json", tmp_path / "index.html"
    picture.write_text("somebody's own")
    request = a_request(output={"report": str(report)})
    write_report(a_ledger(request=request))
    write_report(a_ledger(request=request))
    assert (tmp_path / "index.html~").read_text() == "somebody's own"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.html", "index.html~", "index.json"]


def test_where_nothing_is_to_be_converted_there_is_no_picture_beside_the_outputs() -> None:
    done = a_ledger(plan=a_plan(done=(ONE,)))
    dry = a_ledger(request=a_request(run=Run(dry_run=True)))
    assert [build_report(each, now=NOW).run["picture"] for each in (done, dry)] == [None, None]


def test_without_a_report_file_none_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(a_ledger())
    assert list(tmp_path.iterdir()) == []
