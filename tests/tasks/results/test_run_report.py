"""The report of a run, built from its ledger."""

import json
from datetime import timedelta
from typing import Any

import pytest
from records import (
    NOW,
    ONE,
    a_batch_result,
    a_conversion,
    a_ledger,
    a_plan,
    a_pool,
    a_request,
    a_source,
    a_ticket,
    proof_of,
)

from tasks.media.suffixes import is_media
from tasks.models import Check, KnownFailure, NodeLife, Refusal, Span
from tasks.parameters import Limits, Run
from tasks.results.lanes import RANKS
from tasks.results.run_report import Report, RunSummary, build_report, picture_name


def a_report(**values: Any) -> Report:
    return build_report(a_ledger(**values), now=NOW + timedelta(seconds=90))


def test_the_summary_counts_states_and_adds_up_files() -> None:
    done = a_conversion(a_source("b.mp4"))
    refused = Refusal(a_source("c.mp4"), "bad")
    report = a_report(
        plan=a_plan(ONE, done=(done,), refused=(refused,)),
        batch_results=(a_batch_result("succeeded"),),
        evidence=proof_of(ONE),
        sent={ONE.key: 5},
    )
    assert report.headline == "1 converted, 1 skipped, 1 failed"
    assert not report.is_success
    assert report.summary == RunSummary(
        converted=1,
        skipped=1,
        failed=1,
        known_failures=0,
        not_started=0,
        interrupted=0,
        with_warnings=0,
        files=3,
        seconds=90.0,
        source_seconds=3.4,
        source_bytes=7,
        sent_bytes=5,
        output_bytes=9,
        node_hours=dict.fromkeys(RANKS, 0),
        converting_share=None,
        slot_share=None,
        cost=None,
    )
    assert report.run.id in repr(report)
    assert report.headline in repr(report)


def test_a_dry_run_with_a_failed_check_is_not_a_success() -> None:
    request = a_request(run=Run(dry_run=True))
    wrong = Check("clock", "failed", "It is wrong.", "Set it right.")
    report = a_report(request=request, checks=(Check("nodes"), wrong))
    assert not report.is_success
    assert report.run.dry_run.checks[1].detail == "It is wrong."


def test_with_a_price_the_run_and_each_file_have_a_cost() -> None:
    request = a_request(limits=Limits(price_per_node_hour=2))
    nodes = (NodeLife("n", "spot", allocated_at=NOW, seen_at=NOW),)
    batch_results = (a_batch_result("succeeded", seconds=3.0),)
    report = a_report(
        request=request, batch_results=batch_results, evidence=proof_of(ONE), nodes=nodes
    )
    assert report.summary.cost == 2 * 90 / 3600
    assert [file.cost for file in report.files] == [2 * 90 / 3600]


def test_a_run_succeeds_if_all_files_are_converted_or_skipped() -> None:
    assert a_report(batch_results=(a_batch_result("succeeded"),), evidence=proof_of(ONE)).is_success
    assert not a_report().is_success


def test_known_failures_fail_the_run_unless_it_only_warns_of_them() -> None:
    known = KnownFailure(a_conversion(a_source("b.mp4")), "bad", NOW)
    done = a_conversion(a_source("c.mp4"))
    tolerant = a_request(run=Run(known_failures="warn"))
    plan = a_plan(done=(done,), known_failures=(known,))
    assert not a_report(plan=plan).is_success
    report = a_report(plan=plan, request=tolerant)
    assert report.is_success
    assert report.headline == "1 skipped, 1 failed in an earlier run"
    assert report.message == "nothing to do: 1 skipped, 1 failed in an earlier run"
    assert (report.summary.failed, report.summary.known_failures) == (1, 1)
    new = Refusal(a_source("d.mp4"), "bad")
    mixed = a_plan(refused=(new,), known_failures=(known,))
    assert a_report(plan=mixed).headline == "1 failed, 1 failed in an earlier run"
    assert not a_report(plan=mixed, request=tolerant).is_success


def test_a_dry_run_predicts_uploads_nodes_and_conversions() -> None:
    twin = a_conversion(a_source("b.mp4"))
    blob = a_conversion(a_source("c.mp4", location="az://media/c.mp4"), content="c1")
    request = a_request(run=Run(dry_run=True), pool=a_pool(dedicated_nodes=1))
    report = a_report(plan=a_plan(ONE, twin, blob), request=request)
    assert report.is_success
    dry_run = report.run.dry_run
    assert dry_run
    assert (dry_run.uploads, dry_run.upload_bytes, dry_run.conversions) == (1, 7, 3)
    assert (dry_run.spot_nodes, dry_run.dedicated_nodes) == (1, 1)
    assert {row.state for row in report.files} == {"not_started"}


def test_the_report_has_the_hours_of_each_node_by_activity() -> None:
    minutes = [NOW + timedelta(minutes=n) for n in range(5)]
    node = NodeLife(
        "n", "spot", minutes[0], minutes[4], start_tasks=(Span("start", *minutes[1:3]),)
    )
    converted = a_batch_result("succeeded", node="n", started_at=minutes[2], ended_at=minutes[3])
    report = build_report(a_ledger(nodes=(node,), batch_results=(converted,)), now=minutes[4])
    minute = round(1 / 60, 6)
    hours = {"boot": minute, "start_task": minute, "converting": minute, "idle": minute}
    content = json.loads("".join(report.as_json()))
    (used,) = content["nodes"]
    assert (used["id"], used["hours"], used["conversions"]) == ("n", hours, 1)
    assert report.summary.node_hours == dict.fromkeys(RANKS, 0) | hours
    assert report.summary.converting_share == 0.25
    assert content["files"][0]["started_at"] == "2026-11-22T12:02:00.000+00:00"


def test_a_run_with_nothing_to_convert_stores_no_picture() -> None:
    done = a_ledger(plan=a_plan(done=(ONE,)))
    dry = a_ledger(request=a_request(run=Run(dry_run=True)))
    assert [build_report(each, now=NOW).run.picture for each in (done, dry)] == [None, None]


@pytest.mark.parametrize(
    ("begun", "named"),
    [
        ((), [None, None, None]),
        (("pool",), ["a", None, True]),
        (("pool", "job"), ["a", "b", True]),
    ],
)
def test_the_report_names_pool_and_job_only_if_the_run_began_to_create_them(
    begun: tuple[str, ...], named: list[object]
) -> None:
    spans = tuple(Span(name, NOW, NOW) for name in begun)
    ticket = a_ticket(now=NOW, pool_id="a", job_id="b")
    run = build_report(a_ledger(spans=spans, ticket=ticket), now=NOW).run
    assert [run.pool, run.job, run.owns_pool] == named


@pytest.mark.parametrize(
    ("prefix", "expected"), [("", "reports/"), ("a/b", "a/b/reports/"), ("a/", "a/reports/")]
)
def test_the_picture_has_a_name_that_no_output_has(prefix: str, expected: str) -> None:
    name = picture_name(prefix=prefix, started_at=NOW, run_id="r")
    assert name == f"{expected}20261122T120000Z-r.html"
    assert not is_media(name)
