"""Autoscale formulas, without HTTP."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_azure.batch.autoscale import Scene, Targets, evaluate
from local_azure.batch.error_codes import BatchError
from local_azure.batch.history import History

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def a_scene(*pending: float, **present: float) -> Scene:
    """Return samples of pending tasks, oldest first, the last one from now."""
    history = History()
    for age, count in zip(reversed(range(len(pending))), pending, strict=True):
        history.add(NOW - age * timedelta(seconds=30), {"$PendingTasks": count})
    known = {"$PendingTasks": 0, **{f"${name}": count for name, count in present.items()}}
    return Scene(now=NOW, present=known, history=history)


def spot(expression: str, scene: Scene | None = None) -> int | None:
    return evaluate(f"$TargetLowPriorityNodes = {expression};", scene or Scene(now=NOW)).spot


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
        ("7 / 2", 3),
        ("0.99", 0),
        ("(7 + 2 - 1) / 2", 4),
        ("-4", 0),
        ("1 == 1 && 2 != 3 ? 5 : 6", 5),
        ("1 > 2 || !(3 <= 2) ? 5 : 6", 5),
        ("0 ? 1 : 0 ? 2 : 3", 3),
        ("99999999", 10_000),
        ('time() - time("2026-11-22T11:00:00Z") > TimeInterval_Minute * 59 ? 1 : 0', 1),
        ("time() + 2 * TimeInterval_Hour > time() ? 1 : 0", 1),
        ("-TimeInterval_Second < TimeInterval_Zero ? 1 : 0", 1),
        ("avg(1, 2, 6)", 3),
        ("sum(1, 2) + len(4, 5, 6)", 6),
    ],
)
def test_expressions_are_evaluated(expression: str, expected: int) -> None:
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
    assert evaluate(formula, Scene(now=NOW)) == Targets(
        dedicated=1, spot=4, deallocation="taskcompletion"
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("max($PendingTasks.GetSample(TimeInterval_Minute * 2))", 7),
        ("min($PendingTasks.GetSample(90 * TimeInterval_Second))", 3),
        ("max($PendingTasks.GetSample(2 * TimeInterval_Minute, TimeInterval_Minute))", 7),
        ("max(0, $PendingTasks.GetSample(1))", 7),
        ("sum($PendingTasks.GetSample(2))", 10),
        ("max(0, $PendingTasks.GetSample(30 * TimeInterval_Second))", 0),
        ("max($PendingTasks.GetSample(2) * 2 - 1)", 13),
        ("$PendingTasks.GetSamplePercent(150 * TimeInterval_Second)", 80),
        ("$PendingTasks.GetSamplePercent(TimeInterval_Hour) < 70 ? 1 : 2", 1),
    ],
)
def test_formulas_see_samples_after_a_minute(expression: str, expected: int) -> None:
    assert spot(expression, a_scene(1, 5, 3, 7, 8, 9)) == expected


def test_without_samples_a_formula_uses_its_literal_numbers() -> None:
    assert spot("max(0, $PendingTasks.GetSample(TimeInterval_Minute * 15))", a_scene()) == 0
    lacking = "$PendingTasks.GetSamplePercent(TimeInterval_Minute) < 70 ? 4 : "
    assert spot(f"{lacking} avg($PendingTasks.GetSample(TimeInterval_Minute))", a_scene()) == 4


def test_formulas_can_read_the_present_nodes() -> None:
    scene = a_scene(CurrentLowPriorityNodes=3)
    assert spot("$CurrentLowPriorityNodes - 1", scene) == 2


def test_a_target_that_is_not_set_stays_unchanged() -> None:
    targets = evaluate("$TargetDedicatedNodes=2", Scene(now=NOW))
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
        "$TargetDedicatedNodes = max($PendingTasks.GetSample(10 * TimeInterval_Minute, 50))",
        "$TargetDedicatedNodes = max($PendingTasks.GetSample())",
        "$TargetDedicatedNodes = $PendingTasks.Count()",
        "$TargetDedicatedNodes = max($CPUPercent.GetSample(1))",
        "$TargetDedicatedNodes = max($PendingTasks.GetSample(2) + $PendingTasks.GetSample(1))",
        "$TargetDedicatedNodes = avg()",
        "$TargetDedicatedNodes = time()",
        "$TargetDedicatedNodes = time() + 5 > time() ? 1 : 0",
        "$TargetDedicatedNodes = time() ? 1 : 0",
        "$TargetDedicatedNodes = max(time())",
        "$TargetDedicatedNodes = median(1, 2)",
        "TimeInterval_Minute = 1; $TargetDedicatedNodes = 1",
        '$TargetDedicatedNodes = time("noon")',
        "$TargetDedicatedNodes = time(3)",
        '$TargetDedicatedNodes = "3"',
        "$NodeDeallocationOption = never; $TargetDedicatedNodes = 1",
        "$CPUPercent = 1",
        "$TargetDedicatedNodes = " + "(" * 500 + "1" + ")" * 500,
        "$TargetDedicatedNodes = " + "1" * 9000,
    ],
)
def test_an_invalid_filter_is_refused(formula: str) -> None:
    with pytest.raises(BatchError, match="AutoScalingFormulaEvaluationError"):
        evaluate(formula, a_scene(1, 1, 1, 1))


@given(st.text(alphabet="$Targetdoms()=?:<>!&|+-*/;.,0123\"' \n", max_size=80))
def test_any_text_is_parsed_or_raises_the_documented_error(text: str) -> None:
    try:
        targets = evaluate(f"$TargetDedicatedNodes = {text}", Scene(now=NOW))
    except BatchError as error:
        assert error.code == "AutoScalingFormulaEvaluationError"  # noqa: PT017  both may be
    else:
        assert targets.dedicated is None or 0 <= targets.dedicated <= 10_000
