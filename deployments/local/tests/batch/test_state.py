"""Transitions of records between states, and the counts of tasks."""

from datetime import UTC, datetime, timedelta

import pytest

from local_azure.batch.specs import JobSpec
from local_azure.batch.state import (
    ALLOCATION,
    JOB,
    NODE,
    POOL,
    TASK,
    IllegalTransitionError,
    Job,
    JobState,
    Transitions,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPEC = JobSpec.model_validate({"id": "j", "poolInfo": {"poolId": "p"}})


def test_a_record_keeps_its_previous_state_and_time() -> None:
    job = Job(spec=SPEC, created=NOW)
    job.move(JobState.TERMINATING, NOW + timedelta(seconds=1))
    assert (job.state, job.state_since) == ("terminating", NOW + timedelta(seconds=1))
    assert (job.previous_state, job.previous_since) == ("active", NOW)


def test_a_transition_that_is_not_allowed_raises_and_changes_nothing() -> None:
    job = Job(spec=SPEC, created=NOW)
    with pytest.raises(IllegalTransitionError, match="active -> completed"):
        job.move(JobState.COMPLETED, NOW)
    assert (job.state, job.previous_state) == ("active", None)


@pytest.mark.parametrize("table", [POOL, ALLOCATION, NODE, JOB, TASK])
def test_every_state_has_a_row_and_leads_to_states_that_have_one(table: Transitions) -> None:
    (states,) = {type(state) for state in table}
    assert set(table) == set(states)
    assert {after for following in table.values() for after in following} <= set(states)
