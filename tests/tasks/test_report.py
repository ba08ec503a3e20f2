import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from records import (
    NOW,
    ONE,
    a_batch_result,
    a_conversion,
    a_ledger,
    a_plan,
    a_request,
    a_source,
    a_ticket,
    there,
)

from tasks.errors import ReportUnwrittenError
from tasks.models import (
    Check,
    Diagnosis,
    NodeLife,
    Refusal,
    Span,
)
from tasks.parameters import Limits, Pool, Run
from tasks.report import Report, build_report, write_report
from tasks.results.timeline import RANKS

DIAGNOSIS = Diagnosis("DeadlinePassed", "The deadline has passed.", "", "Run again.")


def a_report(**values: Any) -> Report:
    return build_report(a_ledger(**values), now=NOW + timedelta(seconds=90))


def test_the_summary_counts_the_states_and_adds_up_the_files() -> None:
    done = a_conversion(a_source("b.mp4"))
    refused = Refusal(a_source("c.mp4"), "bad")
    report = a_report(
        plan=a_plan(ONE, done=(done,), refused=(refused,)),
        batch_results=(a_batch_result("succeeded"),),
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
    batch_results = (a_batch_result("succeeded", seconds=3.0),)
    report = a_report(
        request=request, batch_results=batch_results, evidence=there(ONE), nodes=nodes
    )
    assert report.summary["cost"] == 2 * 90 / 3600
    assert [file.cost for file in report.files] == [2 * 90 / 3600]


def test_a_run_succeeds_when_all_is_converted_or_skipped() -> None:
    assert a_report(batch_results=(a_batch_result("succeeded"),), evidence=there(ONE)).is_success
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
    converted = a_batch_result("succeeded", node="n", started_at=minutes[2], ended_at=minutes[3])
    ledger = a_ledger(
        request=a_request(output={"report": str(path)}), nodes=(node,), batch_results=(converted,)
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


@pytest.mark.parametrize(
    ("begun", "named"),
    [
        ((), [None, None, None]),
        (("pool",), ["a", None, True]),
        (("pool", "job"), ["a", "b", True]),
    ],
)
def test_the_report_names_the_pool_and_the_job_that_the_run_came_to_ask_for(
    begun: tuple[str, ...], named: list[object]
) -> None:
    spans = tuple(Span(name, NOW, NOW) for name in begun)
    ticket = a_ticket(now=NOW, pool_id="a", job_id="b")
    run = build_report(a_ledger(spans=spans, ticket=ticket), now=NOW).run
    assert [run[name] for name in ("pool", "job", "owns_pool")] == named


def test_without_a_report_file_none_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(a_ledger())
    assert list(tmp_path.iterdir()) == []
