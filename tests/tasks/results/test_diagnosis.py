from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import NOW

from tasks.azure.snapshots import Snapshot
from tasks.models import BatchResult, Diagnosis
from tasks.results.diagnosis import TABLE, diagnose, diagnose_end, diagnose_wait

WAITING = Snapshot(seconds_left=60, active=3, is_steady=True)
BROKEN = replace(WAITING, nodes=2, unstarted_nodes=2)
SPOT_QUOTA = replace(WAITING, resize_codes=("AccountSpotCoreQuotaReached",))


def end_of(snapshot: Snapshot) -> Diagnosis:
    found = diagnose(snapshot)
    assert found
    return found


def wait_of(snapshot: Snapshot) -> Diagnosis:
    assert diagnose(snapshot) is None
    found = diagnose_wait(snapshot)
    assert found
    return found


def test_a_new_run_has_no_diagnosis() -> None:
    assert diagnose(WAITING) is None
    assert diagnose_wait(WAITING) is None


@pytest.mark.parametrize(
    "snapshot",
    [
        replace(BROKEN, unstarted_nodes=1),
        replace(BROKEN, is_steady=False),
        replace(BROKEN, running=1),
        replace(SPOT_QUOTA, nodes=1),
        replace(WAITING, job="ended", running=1),
    ],
)
def test_a_run_continues_while_a_file_converts_or_a_node_may_come(snapshot: Snapshot) -> None:
    assert diagnose(snapshot) is None


@pytest.mark.parametrize(
    ("code", "snapshot"),
    [
        ("Cancelled", replace(WAITING, is_cancelled=True)),
        ("DeadlinePassed", replace(WAITING, seconds_left=0, running=2, is_steady=False)),
        ("NodeHoursSpent", replace(WAITING, node_hours=2, max_node_hours=1.5)),
        ("JobDeleted", replace(WAITING, job="deleted")),
        ("JobEnded", replace(WAITING, job="ended")),
        ("PoolDeleted", replace(WAITING, has_pool=False)),
        ("StartTaskFailed", BROKEN),
        ("StartTaskFailed", replace(BROKEN, unstarted_nodes=1, unusable_nodes=1)),
        ("NodesUnusable", replace(WAITING, nodes=2, unusable_nodes=2)),
        *(
            (code, replace(WAITING, resize_codes=("AllocationFailed", code)))
            for code in (
                "AccountCoreQuotaReached",
                "AccountLowPriorityCoreQuotaReached",
                "AccountSpotCoreQuotaReached",
                "AccountVMSeriesCoreQuotaReached",
                "IncompatibleVMSize",
                "UnsupportedVMSize",
            )
        ),
    ],
)
def test_a_run_that_cannot_continue_ends_with_a_reason_and_a_remedy(
    code: str, snapshot: Snapshot
) -> None:
    found = end_of(snapshot)
    assert found.code == code
    assert found.remedy


@pytest.mark.parametrize("code", ["AllocationFailed", "AllocationTimedout", "ResizeStopped"])
def test_the_run_waits_for_an_error_that_may_pass(code: str) -> None:
    explained = f"{code}: It failed (Reason: no room)"
    found = wait_of(replace(WAITING, resize_codes=(code,), resize_explanation=explained))
    assert found.code == code
    assert f"Batch reports {explained}." in found.detail


def test_a_resize_error_is_recognised_in_any_case() -> None:
    found = wait_of(replace(WAITING, resize_codes=("AllocationTimedOut",)))
    assert found.code == "AllocationTimedout"


def test_an_unknown_resize_error_is_reported_by_its_code() -> None:
    new = replace(WAITING, resize_codes=("Brandnew",), resize_explanation="Brandnew: No luck")
    found = wait_of(replace(new, elapsed_seconds=61))
    assert (found.code, found.detail) == ("NoNodes", "Batch reports Brandnew: No luck.")


def test_a_pool_that_stays_empty_without_an_error_is_reported_after_a_minute() -> None:
    assert diagnose_wait(replace(WAITING, elapsed_seconds=59)) is None
    found = wait_of(replace(WAITING, elapsed_seconds=61))
    assert (found.code, found.detail) == ("NoNodes", "Batch reports no error.")


def test_the_run_waits_for_a_quota_that_other_pools_use() -> None:
    found = wait_of(replace(SPOT_QUOTA, other_nodes=4))
    assert "Other pools have 4 nodes" in found.detail
    assert "Spot cores" in found.remedy


def test_a_quota_error_ends_a_run_only_after_three_evaluations_without_a_node() -> None:
    twice = replace(SPOT_QUOTA, evaluated_at=NOW, quota_refusals=2)
    assert wait_of(twice).code == "AccountSpotCoreQuotaReached"
    assert end_of(replace(twice, quota_refusals=3)).code == "AccountSpotCoreQuotaReached"


def test_a_quota_error_of_a_pool_without_a_formula_ends_a_run_at_once() -> None:
    assert end_of(SPOT_QUOTA).code == "AccountSpotCoreQuotaReached"


def test_the_run_waits_for_a_formula_that_batch_cannot_evaluate() -> None:
    failing = replace(WAITING, formula_error="AutoScalingFormulaEvaluationError: 1 / 0")
    found = wait_of(failing)
    assert (found.code, "1 / 0" in found.detail) == ("FormulaFailed", True)
    assert diagnose_wait(replace(failing, nodes=1)) is None


def test_with_fallback_the_run_waits_for_dedicated_nodes_instead_of_a_spot_quota() -> None:
    assert wait_of(replace(SPOT_QUOTA, has_fallback=True)).code == "AccountSpotCoreQuotaReached"
    dedicated = replace(SPOT_QUOTA, resize_codes=("AccountCoreQuotaReached",), has_fallback=True)
    assert end_of(dedicated).code == "AccountCoreQuotaReached"


def test_evictions_are_reported_with_a_remedy_when_no_node_is_left() -> None:
    evicted = replace(WAITING, nodes=2, evicted_nodes=2)
    assert "--pool.dedicated-nodes" in wait_of(evicted).remedy
    assert diagnose_wait(replace(evicted, evicted_nodes=1)) is None
    assert wait_of(replace(evicted, evicted_nodes=1, unusable_nodes=1)).code == "NodesEvicted"


def test_a_formula_that_batch_does_not_evaluate_is_reported_also_while_files_convert() -> None:
    found = wait_of(replace(WAITING, nodes=1, running=1, unevaluated_minutes=12.4))
    assert found.code == "FormulaNotEvaluated"
    assert "12 minutes ago" in found.detail


def test_the_deadline_names_what_the_run_waited_for() -> None:
    late = replace(WAITING, seconds_left=0)
    assert end_of(replace(late, running=2)).detail == "Files converting: 2, waiting: 3."
    found = end_of(replace(late, nodes=2, evicted_nodes=2))
    assert "All Spot nodes are evicted." in found.detail
    assert "--pool.dedicated-nodes" in found.remedy


def test_the_run_waits_for_a_disabled_job_and_for_batch_to_answer() -> None:
    assert wait_of(replace(WAITING, nodes=1, job="disabled")).code == "JobDisabled"
    assert wait_of(replace(WAITING, is_answered=False)).code == "NoAnswer"


@given(
    st.builds(
        Snapshot,
        seconds_left=st.floats(-1, 1),
        elapsed_seconds=st.floats(0, 100),
        running=st.integers(0, 1),
        job=st.sampled_from(["open", "disabled", "ended", "deleted"]),
        has_pool=st.booleans(),
        is_steady=st.booleans(),
        resize_codes=st.lists(st.sampled_from([row.code for row in TABLE])).map(tuple),
        nodes=st.integers(0, 2),
        unstarted_nodes=st.integers(0, 1),
        unusable_nodes=st.integers(0, 1),
        evicted_nodes=st.integers(0, 1),
        other_nodes=st.integers(0, 1),
        quota_refusals=st.integers(0, 3),
    )
)
def test_each_diagnosis_is_complete(snapshot: Snapshot) -> None:
    for found in (diagnose(snapshot), diagnose_wait(snapshot)):
        if found:
            assert found.summary.endswith(".")
            assert found.remedy.endswith(".")
            assert "{" not in found.detail


def test_batch_tasks_that_the_jobs_wall_clock_ended_mean_that_the_deadline_passed() -> None:
    ended = [BatchResult("a", 1, "failed", code="TaskEnded"), BatchResult("b", 1, "succeeded")]
    found = diagnose_end(replace(WAITING, seconds_left=0), ended)
    assert found
    assert found.code == "DeadlinePassed"
    assert found.detail == "Files converting: 0, waiting: 1."
    assert diagnose_end(WAITING, ended[1:]) is None


def test_batch_tasks_that_ended_before_the_deadline_were_ended_by_a_user() -> None:
    ended = [BatchResult("a", 1, "failed", code="TaskEnded", node="n")]
    found = diagnose_end(WAITING, ended)
    assert found
    assert (found.code, found.detail) == ("JobEnded", "Files converting: 1, waiting: 0.")


def test_when_the_node_hours_are_used_the_run_waits_for_converting_files() -> None:
    spent = replace(WAITING, node_hours=2, max_node_hours=1.5, running=1, job="disabled")
    assert wait_of(spent).code == "NodeHoursSpent"
    assert (
        end_of(replace(spent, running=0)).detail
        == "Node hours used: 2.00 of 1.5. Files waiting: 3."
    )


def test_without_a_limit_node_hours_do_not_end_a_run() -> None:
    assert diagnose(replace(WAITING, node_hours=1e6)) is None
