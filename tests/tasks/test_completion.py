from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.batch import BatchClient, models
from hypothesis import given
from hypothesis import strategies as st
from records import NOW, a_ticket

from tasks.completion import (
    Ending,
    Sighting,
    diagnose,
    diagnose_end,
    is_complete,
    is_service_fault,
    is_settled,
    poll_seconds,
    to_outcome,
    to_progress,
    watch_completion,
)
from tasks.models import Outcome, Ticket
from tasks.parameters import Pool
from tasks.pool import make_pool, tags
from tasks.progress import Progress, Tally, listening

TICKET = a_ticket(now=NOW)
WAITING = Sighting(active=3, running=0, succeeded=0, failed=0, is_steady=True)


def code(sighting: Sighting, now: datetime = NOW) -> str | None:
    found = diagnose(sighting, ticket=TICKET, now=now)
    return found.code if found else None


@given(st.floats(0, 1e6))
def test_the_pause_is_a_tenth_of_the_time_so_far_within_bounds(elapsed_seconds: float) -> None:
    assert 0.25 <= poll_seconds(elapsed_seconds) <= 15
    if 2.5 <= elapsed_seconds <= 150:
        assert poll_seconds(elapsed_seconds) == elapsed_seconds / 10


def test_all_is_complete_when_no_wave_is_to_come_and_none_is_left() -> None:
    sighting = replace(WAITING, active=0, succeeded=2, failed=1)
    assert is_complete(sighting, Tally(submitted=3, is_closed=True))
    assert not is_complete(sighting, Tally(submitted=3))
    assert not is_complete(sighting, Tally(submitted=4, is_closed=True))


def test_the_list_decides_where_the_counts_run_ahead() -> None:
    outcomes = [Outcome("a", 1, "succeeded"), Outcome("b", 1, "running")]
    assert not is_settled(outcomes, Tally(submitted=2))
    assert is_settled(outcomes, Tally(submitted=1))


def test_there_is_hope_while_nodes_may_come_or_work() -> None:
    broken = replace(WAITING, nodes=2, broken_nodes=2)
    assert code(WAITING) is None
    assert code(replace(broken, broken_nodes=1)) is None
    assert code(replace(broken, is_steady=False)) is None
    assert code(replace(broken, running=1)) is None
    assert code(replace(WAITING, resize_codes=("AllocationTimedOut",))) is None
    assert code(replace(WAITING, nodes=1, resize_codes=("AccountSpotCoreQuotaReached",))) is None


def test_there_is_none_where_all_nodes_are_broken() -> None:
    assert code(replace(WAITING, nodes=2, broken_nodes=2)) == "StartTaskFailed"


@pytest.mark.parametrize("fatal", ["AccountCoreQuotaReached", "UnsupportedVMSize"])
def test_there_is_none_where_the_pool_cannot_get_nodes(fatal: str) -> None:
    found = diagnose(
        replace(WAITING, resize_codes=("AllocationFailed", fatal)), ticket=TICKET, now=NOW
    )
    assert found
    assert (found.code, fatal in found.detail) == (fatal, True)


def test_there_is_none_in_a_job_that_was_ended() -> None:
    assert code(replace(WAITING, is_open=False)) == "JobEnded"
    assert code(replace(WAITING, is_open=False, running=1)) is None


def test_at_the_deadline_the_watch_ends_whatever_runs() -> None:
    running = replace(WAITING, running=2, is_steady=False)
    assert code(running, TICKET.deadline - timedelta(seconds=1)) is None
    found = diagnose(running, ticket=TICKET, now=TICKET.deadline)
    assert found
    assert found.detail == "2 files were converting and 3 waiting."


def test_what_the_jobs_own_clock_ended_is_told_as_the_deadline() -> None:
    ended = [Outcome("a", 1, "failed", code="TaskEnded"), Outcome("b", 1, "succeeded")]
    found = diagnose_end(ended, ticket=TICKET, now=TICKET.deadline)
    assert found
    assert found.code == "DeadlinePassed"
    assert found.detail == "0 files were converting and 1 waiting."
    assert diagnose_end(ended[1:], ticket=TICKET, now=TICKET.deadline) is None


def test_what_was_ended_before_the_deadline_was_ended_by_somebody() -> None:
    ended = [Outcome("a", 1, "failed", code="TaskEnded", node="n")]
    found = diagnose_end(ended, ticket=TICKET, now=NOW)
    assert found
    assert (found.code, found.detail) == ("JobEnded", "1 files were converting and 0 waiting.")


def progress(sighting: Sighting, tally: Tally) -> Progress:
    return to_progress(sighting, tally, elapsed_seconds=10)


def test_progress_counts_each_file_once() -> None:
    sighting = Sighting(active=1, running=2, succeeded=4, failed=1, nodes=2)
    tally = Tally(files=10, submitted=9, refused=1)
    assert progress(sighting, tally) == Progress(
        files=10, converted=4, failed=2, running=2, nodes=2, seconds_left=pytest.approx(40 / 6)
    )


def test_a_file_that_is_tried_again_has_not_failed() -> None:
    sighting = Sighting(active=0, running=1, succeeded=3, failed=1)
    seen = progress(sighting, Tally(files=4, submitted=5))
    assert (seen.converted, seen.failed, seen.running) == (3, 0, 1)
    last = progress(replace(sighting, running=0, succeeded=4), Tally(files=4, submitted=5))
    assert (last.converted, last.failed, last.seconds_left) == (4, 0, 0)


def a_batch_task(state: str, info: dict[str, Any] | None = None) -> models.BatchTask:
    wire = {"id": "k-2", "state": state, "executionInfo": {"retryCount": 1} | (info or {})}
    return models.BatchTask(wire | {"nodeInfo": {"nodeId": "n"}})


@pytest.mark.parametrize("state", ["preparing", "running"])
def test_a_batch_task_that_is_not_completed_runs(state: str) -> None:
    assert to_outcome(a_batch_task(state)) == Outcome("k", 2, "running")


def test_an_exit_code_of_zero_with_a_failed_upload_is_a_failure() -> None:
    failure = {"category": "usererror", "code": "FileUploadMiscError", "message": "no"}
    info = {"exitCode": 0, "result": "failure", "failureInfo": failure}
    outcome = to_outcome(a_batch_task("completed", info))
    assert (outcome.state, outcome.exit_code, outcome.code) == ("failed", 0, "FileUploadMiscError")


def test_a_success_has_its_node_its_tries_and_its_seconds() -> None:
    times = {"startTime": "2026-11-22T12:00:00Z", "endTime": "2026-11-22T12:00:01.5Z"}
    info = {"exitCode": 0, "result": "success"} | times
    assert to_outcome(a_batch_task("completed", info)) == Outcome(
        "k", 2, "succeeded", exit_code=0, node="n", tries=2, seconds=1.5
    )


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("BlobNotFound", True),
        ("FileUploadMiscError", True),
        ("DiskFull", True),
        ("FailureExitCode", False),
        ("TaskEnded", False),
    ],
)
def test_what_a_transfer_or_a_node_spoilt_is_a_fault_of_the_service(
    fault: str,
    expected: bool,  # noqa: FBT001  a table
) -> None:
    assert is_service_fault(Outcome("k", 1, "failed", code=fault)) is expected
    assert not is_service_fault(Outcome("k", 1, "running", code=fault))


@pytest.fixture
def run(batch: BatchClient) -> Iterator[Ticket]:
    """The ticket of a run with a job for its pool, which is yet to be made."""
    ticket = a_ticket()
    info = models.BatchPoolInfo(pool_id=ticket.pool_id)
    batch.create_job(
        models.BatchJobCreateOptions(id=ticket.job_id, pool_info=info, metadata=tags(ticket))
    )
    yield ticket
    batch.begin_delete_job(ticket.job_id)
    batch.begin_delete_pool(ticket.pool_id)


def submit(batch: BatchClient, ticket: Ticket, *scripts: str) -> Tally:
    for number, script in enumerate(scripts):
        batch_task = models.BatchTaskCreateOptions(
            id=f"k{number}-1", command_line=f"/bin/sh -c '{script}'"
        )
        batch.create_task(ticket.job_id, batch_task)
    return Tally(files=len(scripts), submitted=len(scripts), is_closed=True)


async def watched(ticket: Ticket, tally: Tally) -> Ending:
    await make_pool.fn(ticket, Pool(spot_nodes=1), files=2)
    ending: Ending = await watch_completion.fn(ticket, tally)
    return ending


async def test_the_watch_ends_when_all_are_completed_and_tells_how_far_it_is(
    batch: BatchClient, run: Ticket
) -> None:
    heard: list[Any] = []
    with listening(heard.append):
        ending = await watched(run, submit(batch, run, "true", "exit 3", "true"))
    assert ending.diagnosis is None
    assert {o.key: (o.state, o.exit_code) for o in ending.outcomes} == {
        "k0": ("succeeded", 0),
        "k1": ("failed", 3),
        "k2": ("succeeded", 0),
    }
    assert (heard[-1].files, heard[-1].converted, heard[-1].failed) == (3, 2, 1)


async def test_counts_that_lag_do_not_end_the_watch_early(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("lag", seconds=0.5)
    ending = await watched(run, submit(batch, run, "true"))
    assert [outcome.state for outcome in ending.outcomes] == ["succeeded"]


async def test_where_every_start_task_fails_the_node_tells_why(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("starttask", pool=run.pool_id, exitCode=100)
    ending = await watched(run, submit(batch, run, "true"))
    assert ending.diagnosis
    assert ending.diagnosis.code == "StartTaskFailed"
    assert "printed: This failure was ordered as a fault." in ending.diagnosis.detail
    assert ending.outcomes == ()


@pytest.mark.usefixtures("free_quota")
async def test_where_the_pool_cannot_grow_the_quota_is_named(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("resize", pool=run.pool_id, code="AccountSpotCoreQuotaReached")
    ending = await watched(run, submit(batch, run, "true"))
    assert ending.diagnosis
    assert ending.diagnosis.code == "AccountSpotCoreQuotaReached"
    assert "Spot cores" in ending.diagnosis.remedy


async def test_where_the_deadline_has_passed_the_rest_is_told(
    batch: BatchClient, run: Ticket
) -> None:
    late = replace(run, deadline=datetime.now(UTC))
    ending = await watched(late, submit(batch, run, "true", "true"))
    assert ending.diagnosis
    assert ending.diagnosis.code == "DeadlinePassed"


@pytest.mark.parametrize("is_closed", [True, False])
async def test_where_somebody_ended_the_job_the_watch_ends(
    batch: BatchClient,
    run: Ticket,
    order: Any,
    is_closed: bool,  # noqa: FBT001  as in a tally
) -> None:
    order("boot", pool=run.pool_id, seconds=3600)
    tally = submit(batch, run, "true")
    tally.is_closed = is_closed
    options: Any = {"terminateReason": "by hand"}
    batch.begin_terminate_job(run.job_id, options=options)
    ending = await watched(run, tally)
    assert ending.diagnosis
    assert ending.diagnosis.code == "JobEnded"
    assert [outcome.code for outcome in ending.outcomes] == ["TaskEnded"]


async def test_a_wave_that_is_still_to_come_is_waited_for(batch: BatchClient, run: Ticket) -> None:
    tally = submit(batch, run, "true")
    tally.is_closed = False

    def close(news: Any) -> None:
        if news.converted == 1:
            tally.is_closed = True

    with listening(close):
        ending = await watched(run, tally)
    assert tally.is_closed
    assert len(ending.outcomes) == 1
