"""Autoscale formulas, without the wire."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.local.batch.autoscale import Targets, evaluate
from deployments.local.batch.errors import BatchError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def spot(expression: str) -> int | None:
    return evaluate(f"$TargetLowPriorityNodes = {expression};", NOW).spot


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('time() < time("2026-11-22T15:00:00Z") ? 8 : 0', 8),
        ('time() < time("2026-11-22T12:00:00Z") ? 8 : 0', 0),
        ('time() >= time("2026-11-22T11:00:00") ? 1 : 0', 1),
        ("min(3, 8)", 3),
        ("max(0, 5 - 8)", 0),
        ("2 + 3 * 2", 8),
        ("(2 + 3) * 2", 10),
        ("7 / 2", 4),
        ("-4", 0),
        ("1 == 1 && 2 != 3 ? 5 : 6", 5),
        ("1 > 2 || !(3 <= 2) ? 5 : 6", 5),
        ("0 ? 1 : 0 ? 2 : 3", 3),
        ("99999999", 10_000),
    ],
)
def test_expressions_mean_what_they_say(expression: str, expected: int) -> None:
    assert spot(expression) == expected


def test_a_formula_has_variables_comments_and_an_option() -> None:
    formula = """
        // until the deadline
        deadline = time("2026-11-22T15:00:00Z");
        wanted = 4; /* nodes */
        $TargetDedicatedNodes = time() < deadline ? 1 : 0;
        $TargetLowPriorityNodes = time() < deadline ? wanted : 0;
        $NodeDeallocationOption = taskcompletion;
    """
    assert evaluate(formula, NOW) == Targets(dedicated=1, spot=4, deallocation="taskcompletion")


def test_a_target_that_is_not_set_stays() -> None:
    targets = evaluate("$TargetDedicatedNodes=2", NOW)
    assert (targets.spot, targets.results(dedicated=1, spot=3)) == (
        None,
        "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=3;$NodeDeallocationOption=requeue",
    )


@pytest.mark.parametrize(
    "formula",
    [
        "",
        "wanted = 3;",
        "$TargetDedicatedNodes",
        "$TargetDedicatedNodes = ;",
        "$TargetDedicatedNodes = 1 2",
        "$TargetDedicatedNodes = (1",
        "$TargetDedicatedNodes = 1 ? 2",
        "$TargetDedicatedNodes = unknown",
        "$TargetDedicatedNodes = 1 / 0",
        "$TargetDedicatedNodes = $PendingTasks.GetSample(1)",
        "$TargetDedicatedNodes = avg(1, 2)",
        '$TargetDedicatedNodes = time("noon")',
        "$TargetDedicatedNodes = time(3)",
        '$TargetDedicatedNodes = "3"',
        "$NodeDeallocationOption = never; $TargetDedicatedNodes = 1",
        "$CPUPercent = 1",
        "$TargetDedicatedNodes = " + "(" * 500 + "1" + ")" * 500,
        "$TargetDedicatedNodes = " + "1" * 9000,
    ],
)
def test_what_is_not_understood_is_refused(formula: str) -> None:
    with pytest.raises(BatchError, match="AutoScalingFormulaEvaluationError"):
        evaluate(formula, NOW)


@given(st.text(alphabet="$Targetdoms()=?:<>!&|+-*/;.,0123\"' \n", max_size=80))
def test_no_text_does_worse_than_an_error(text: str) -> None:
    try:
        targets = evaluate(f"$TargetDedicatedNodes = {text}", NOW)
    except BatchError as error:
        assert error.code == "AutoScalingFormulaEvaluationError"  # noqa: PT017 - both may be
    else:
        assert targets.dedicated is None or 0 <= targets.dedicated <= 10_000
