"""The JSON Schema of the report file."""

import json
from pathlib import Path
from typing import Any

import jsonschema
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
    at,
    proof_of,
)
from runs import a_big_report

from tasks.models import Check, Diagnosis, KnownFailure, Refusal, Span
from tasks.parameters import Limits, Run
from tasks.results import report_schema
from tasks.results.run_report import Report, build_report

SCHEMA = json.loads(Path(report_schema.__file__).with_name("report.schema.json").read_text())
STOPPED = Diagnosis("Cancelled", "The run was cancelled in Prefect.", "", "Run again.")
DRY_RUN = a_request(
    run=Run(dry_run=True), limits=Limits(price_per_node_hour=0.5), pool=a_pool(id="shared")
)
SPANS = (Span("pool", at(1), at(2)), Span("job", at(2), at(3)))


def a_report(**values: Any) -> Report:
    return build_report(a_ledger(**values), now=at(90))


def validate(report: Any) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    validator.validate(report)


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(a_big_report(files=20), id="converted"),
        pytest.param(a_report(evidence=proof_of(ONE), spans=SPANS), id="without-nodes"),
        pytest.param(a_report(plan=a_plan(done=(ONE,))), id="nothing-to-convert"),
        pytest.param(a_report(plan=a_plan()), id="no-files"),
        pytest.param(
            a_report(plan=a_plan(refused=(Refusal(a_source(), "it has no audio"),))), id="failed"
        ),
        pytest.param(
            a_report(plan=a_plan(known_failures=(KnownFailure(ONE, "bad", NOW),))),
            id="known-failure",
        ),
        pytest.param(
            a_report(
                diagnosis=STOPPED,
                spans=SPANS,
                plan=a_plan(ONE, a_conversion(a_source("b.mp4"))),
                batch_results=(a_batch_result("running", node="n", started_at=NOW),),
            ),
            id="interrupted",
        ),
        pytest.param(
            a_report(request=DRY_RUN, checks=(Check("clock"), Check("quota", "failed", "0", "1"))),
            id="dry-run",
        ),
    ],
)
def test_reports_match_the_schema(report: Report) -> None:
    validate(json.loads("".join(report.as_json())))


@pytest.mark.parametrize("part", ["run", "summary"])
def test_a_report_with_a_missing_or_an_unknown_key_does_not_match(part: str) -> None:
    content = json.loads("".join(a_report().as_json()))
    content[part]["unknown"] = 1
    with pytest.raises(jsonschema.ValidationError, match="unknown"):
        validate(content)
    del content[part]["unknown"]
    del content[part][next(iter(content[part]))]
    with pytest.raises(jsonschema.ValidationError, match="required"):
        validate(content)


def test_the_schema_file_is_up_to_date() -> None:
    assert report_schema.report_schema() == SCHEMA
