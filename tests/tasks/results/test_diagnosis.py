from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.azure.snapshots import Snapshot
from tasks.models import BatchResult, Diagnosis
from tasks.results.diagnosis import TABLE, diagnose, diagnose_end, diagnose_wait

WAITING = Snapshot(seconds_left=60, active=3, is_steady=True)
BROKEN = replace(WAITING, nodes=2, unstarted_nodes=2)
SPOT_QUOTA = replace(WAITING, resize_codes=("AccountSpotCoreQuotaReached",))


def ends(snapshot: Snapshot) -> Diagnosis:
    found = diagnose(snapshot)
    assert found
    return found


def waits(snapshot: Snapshot) -> Diagnosis:
    assert diagnose(snapshot) is None
    found = diagnose_wait(snapshot)
    assert found
    return found


def test_a_run_that_has_just_begun_has_nothing_strange() -> None:
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
def test_there_is_hope_while_something_runs_or_a_node_may_come(snapshot: Snapshot) -> None:
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
def test_a_run_ends_with_its_reason_and_a_remedy_where_nothing_is_left_to_wait_for(
    code: str, snapshot: Snapshot
) -> None:
    found = ends(snapshot)
    assert found.code == code
    assert found.remedy


@pytest.mark.parametrize("code", ["AllocationFailed", "AllocationTimedOut", "ResizeStopped"])
def test_what_may_pass_is_waited_for_and_told(code: str) -> None:
    found = waits(replace(WAITING, resize_codes=(code,)))
    assert found.code == code
    assert code in found.detail


def test_a_resize_error_of_no_row_is_told_in_batchs_own_word() -> None:
    found = waits(replace(WAITING, resize_codes=("Brandnew",), elapsed_seconds=61))
    assert (found.code, found.detail) == ("NoNodes", "Batch says Brandnew.")


def test_a_pool_that_stays_empty_for_no_reason_is_told_after_a_minute() -> None:
    assert diagnose_wait(replace(WAITING, elapsed_seconds=59)) is None
    assert waits(replace(WAITING, elapsed_seconds=61)).code == "NoNodes"


def test_a_quota_that_other_pools_use_up_is_waited_for() -> None:
    found = waits(replace(SPOT_QUOTA, other_nodes=4))
    assert "other pools have 4 nodes" in found.detail
    assert "Spot cores" in found.remedy


def test_a_spot_quota_is_waited_out_where_dedicated_nodes_stand_in() -> None:
    assert waits(replace(SPOT_QUOTA, has_fallback=True)).code == "AccountSpotCoreQuotaReached"
    dedicated = replace(SPOT_QUOTA, resize_codes=("AccountCoreQuotaReached",), has_fallback=True)
    assert ends(dedicated).code == "AccountCoreQuotaReached"


def test_evictions_are_told_when_no_node_is_left_and_name_the_remedy() -> None:
    evicted = replace(WAITING, nodes=2, evicted_nodes=2)
    assert "--pool.dedicated-nodes" in waits(evicted).remedy
    assert diagnose_wait(replace(evicted, evicted_nodes=1)) is None
    assert waits(replace(evicted, evicted_nodes=1, unusable_nodes=1)).code == "NodesEvicted"


def test_the_deadline_tells_what_was_waited_for() -> None:
    late = replace(WAITING, seconds_left=0)
    assert ends(replace(late, running=2)).detail == "2 converting, 3 waiting."
    found = ends(replace(late, nodes=2, evicted_nodes=2))
    assert "All Spot nodes are evicted." in found.detail
    assert "--pool.dedicated-nodes" in found.remedy


def test_a_job_that_is_disabled_and_a_batch_that_does_not_answer_are_waited_for() -> None:
    assert waits(replace(WAITING, nodes=1, job="disabled")).code == "JobDisabled"
    assert waits(replace(WAITING, is_answered=False)).code == "NoAnswer"


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
    )
)
def test_what_is_told_has_no_gaps_whatever_is_seen(snapshot: Snapshot) -> None:
    for found in (diagnose(snapshot), diagnose_wait(snapshot)):
        if found:
            assert found.summary.endswith(".")
            assert found.remedy.endswith(".")
            assert "{" not in found.detail


def test_what_the_jobs_own_clock_ended_is_told_as_the_deadline() -> None:
    ended = [BatchResult("a", 1, "failed", code="TaskEnded"), BatchResult("b", 1, "succeeded")]
    found = diagnose_end(replace(WAITING, seconds_left=0), ended)
    assert found
    assert found.code == "DeadlinePassed"
    assert found.detail == "0 converting, 1 waiting."
    assert diagnose_end(WAITING, ended[1:]) is None


def test_what_was_ended_before_the_deadline_was_ended_by_somebody() -> None:
    ended = [BatchResult("a", 1, "failed", code="TaskEnded", node="n")]
    found = diagnose_end(WAITING, ended)
    assert found
    assert (found.code, found.detail) == ("JobEnded", "1 converting, 0 waiting.")


def test_what_converts_when_the_node_hours_are_spent_is_waited_for() -> None:
    spent = replace(WAITING, node_hours=2, max_node_hours=1.5, running=1, job="disabled")
    assert waits(spent).code == "NodeHoursSpent"
    assert ends(replace(spent, running=0)).detail == "2.00 of 1.5 node hours are used; 3 waiting."


def test_without_a_limit_no_number_of_node_hours_is_too_many() -> None:
    assert diagnose(replace(WAITING, node_hours=1e6)) is None
