from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from hypothesis import given
from hypothesis import strategies as st
from records import a_ticket

from tasks.azure.nodes import Roster
from tasks.azure.snapshots import Snapshot
from tasks.azure.tags import tags
from tasks.completion import (
    Completion,
    find_completion,
    is_complete,
    is_settled,
    is_survey_due,
    poll_seconds,
    to_progress,
    watch_completion,
)
from tasks.models import BatchResult, Ticket
from tasks.parameters import Pool
from tasks.pool import make_pool
from tasks.results.listeners import listening
from tasks.results.progress import Progress, Tally

WAITING = Snapshot(seconds_left=60, elapsed_seconds=10, active=3, is_steady=True)


@given(st.floats(0, 1e6))
def test_the_pause_is_a_tenth_of_the_time_so_far_within_bounds(elapsed_seconds: float) -> None:
    assert 0.25 <= poll_seconds(elapsed_seconds) <= 15
    if 2.5 <= elapsed_seconds <= 150:
        assert poll_seconds(elapsed_seconds) == elapsed_seconds / 10


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_near_the_end_the_pause_is_half_of_what_is_left(elapsed: float, left: float) -> None:
    pause_seconds = poll_seconds(elapsed, left_seconds=left)
    assert 0.25 <= pause_seconds <= poll_seconds(elapsed)
    assert pause_seconds <= max(0.25, left / 2)


@given(st.floats(0, 120), st.floats(0, 2))
def test_the_last_seconds_of_a_short_run_are_watched_closely(elapsed: float, left: float) -> None:
    assert poll_seconds(elapsed, left_seconds=left) == 0.25


def test_a_last_file_that_takes_a_minute_longer_costs_few_looks() -> None:
    still_seconds, looks = 0.0, 0
    while still_seconds < 60:
        still_seconds += poll_seconds(600 + still_seconds, left_seconds=still_seconds)
        looks += 1
    assert looks <= 15


def test_all_is_complete_when_no_wave_is_to_come_and_none_is_left() -> None:
    snapshot = replace(WAITING, active=0, succeeded=2, failed=1)
    assert is_complete(snapshot, Tally(submitted=3, is_closed=True))
    assert not is_complete(snapshot, Tally(submitted=3))
    assert not is_complete(snapshot, Tally(submitted=4, is_closed=True))


def test_the_list_decides_where_the_counts_run_ahead() -> None:
    batch_results = [BatchResult("a", 1, "succeeded"), BatchResult("b", 1, "running")]
    assert not is_settled(batch_results, Tally(submitted=2))
    assert is_settled(batch_results, Tally(submitted=1))


def test_in_the_third_minute_of_waiting_ten_requests_are_sent_at_most() -> None:
    elapsed_seconds, surveyed_seconds, requests = 0.0, 0.0, 0
    while elapsed_seconds < 180:
        is_due = is_survey_due(elapsed_seconds, surveyed_seconds=surveyed_seconds)
        surveyed_seconds = elapsed_seconds if is_due else surveyed_seconds
        if elapsed_seconds >= 120:
            requests += 3 if is_due else 1  # counts; nodes, and the pool or the job
        elapsed_seconds += poll_seconds(elapsed_seconds)
    assert requests <= 10


def test_progress_counts_each_file_once() -> None:
    snapshot = replace(WAITING, active=1, running=2, succeeded=4, failed=1, nodes=2)
    tally = Tally(files=10, submitted=9, refused=1)
    assert to_progress(snapshot, tally) == Progress(
        files=10, converted=4, failed=2, running=2, nodes=2, seconds_left=pytest.approx(40 / 6)
    )


def test_a_file_that_is_tried_again_has_not_failed() -> None:
    snapshot = replace(WAITING, active=0, running=1, succeeded=3, failed=1)
    seen = to_progress(snapshot, Tally(files=4, submitted=5))
    assert (seen.converted, seen.failed, seen.running) == (3, 0, 1)
    last = to_progress(replace(snapshot, running=0, succeeded=4), Tally(files=4, submitted=5))
    assert (last.converted, last.failed, last.seconds_left) == (4, 0, 0)


@pytest.fixture
def run(batch: BatchClient) -> Iterator[Ticket]:
    """The ticket of a run with a job for its pool, which is yet to be made."""
    ticket = a_ticket()
    info = models.BatchPoolInfo(pool_id=ticket.pool_id)
    batch.create_job(
        models.BatchJobCreateOptions(id=ticket.job_id, pool_info=info, metadata=tags(ticket))
    )
    yield ticket
    for delete, name in (
        (batch.begin_delete_job, ticket.job_id),
        (batch.begin_delete_pool, ticket.pool_id),
    ):
        with suppress(ResourceNotFoundError, ResourceExistsError):  # a test deleted it
            delete(name)


def submit(batch: BatchClient, ticket: Ticket, *scripts: str) -> Tally:
    for number, script in enumerate(scripts):
        batch_task = models.BatchTaskCreateOptions(
            id=f"k{number}-1", command_line=f"/bin/sh -c '{script}'"
        )
        batch.create_task(ticket.job_id, batch_task)
    return Tally(files=len(scripts), submitted=len(scripts), is_closed=True)


async def watched(ticket: Ticket, tally: Tally) -> Completion:
    await make_pool.fn(ticket, Pool(spot_nodes=1), files=2)
    ending: Completion = await watch_completion.fn(ticket, tally, Roster())
    return ending


async def test_the_watch_ends_when_all_are_completed_and_tells_how_far_it_is(
    batch: BatchClient, run: Ticket
) -> None:
    heard: list[Any] = []
    with listening(heard.append):
        ending = await watched(run, submit(batch, run, "true", "exit 3", "true"))
    assert ending.diagnosis is None
    assert {o.key: (o.state, o.exit_code) for o in ending.batch_results} == {
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
    assert [batch_result.state for batch_result in ending.batch_results] == ["succeeded"]


async def test_counts_that_stand_still_before_the_end_do_not_keep_the_watch_from_ending(
    batch: BatchClient, run: Ticket, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.completion.STALL_SECONDS", 0.5)
    order("lag", seconds=3600)
    ending = await watched(run, submit(batch, run, "sleep 1", "true"))
    assert ending.diagnosis is None
    assert [batch_result.state for batch_result in ending.batch_results] == [
        "succeeded",
        "succeeded",
    ]


async def test_where_every_start_task_fails_the_node_tells_why(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("starttask", pool=run.pool_id, exitCode=100)
    ending = await watched(run, submit(batch, run, "true"))
    assert ending.diagnosis
    assert ending.diagnosis.code == "StartTaskFailed"
    assert "printed: This failure was ordered as a fault." in ending.diagnosis.detail
    assert ending.batch_results == ()


@pytest.mark.usefixtures("free_quota")
async def test_where_the_pool_cannot_grow_the_quota_is_named(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("resize", pool=run.pool_id, code="AccountSpotCoreQuotaReached")
    ending = await watched(run, submit(batch, run, "true"))
    assert ending.diagnosis
    assert ending.diagnosis.code == "AccountSpotCoreQuotaReached"
    assert "Spot cores" in ending.diagnosis.remedy


async def test_a_start_task_that_fails_everywhere_ends_the_watch_while_files_are_still_uploaded(
    run: Ticket, order: Any
) -> None:
    order("starttask", pool=run.pool_id)
    ending = await watched(run, Tally(files=2))
    assert ending.diagnosis
    assert ending.diagnosis.code == "StartTaskFailed"


async def test_nodes_that_batch_cannot_use_end_the_watch_in_its_own_words(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    def lose(_: Any) -> None:
        for node in batch.list_nodes(run.pool_id):
            order("lose", pool=run.pool_id, node=node.id)

    order("boot", pool=run.pool_id, seconds=3600)
    tally = submit(batch, run, "true")
    with listening(lose):
        ending = await watched(run, tally)
    assert ending.diagnosis
    assert ending.diagnosis.code == "NodesUnusable"
    assert "The node was lost by order" in ending.diagnosis.detail


@pytest.mark.parametrize("is_closed", [True, False])
async def test_where_somebody_deleted_the_pool_the_watch_ends(
    batch: BatchClient,
    run: Ticket,
    is_closed: bool,  # noqa: FBT001  as in a tally
) -> None:
    tally = submit(batch, run, "sleep 60")
    tally.is_closed = is_closed

    def delete(news: Progress) -> None:
        if news.running:
            batch.begin_delete_pool(run.pool_id)

    with listening(delete):
        ending = await watched(run, tally)
    assert ending.diagnosis
    assert ending.diagnosis.code == "PoolDeleted"


async def test_where_somebody_deleted_the_job_the_watch_ends(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("boot", pool=run.pool_id, seconds=3600)
    tally = submit(batch, run, "true")
    batch.begin_delete_job(run.job_id, polling_interval=0).wait()
    ending = await watched(run, tally)
    assert ending.diagnosis
    assert ending.diagnosis.code == "JobDeleted"
    assert ending.batch_results == ()


async def test_what_stopped_a_wave_is_told_by_one_look(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("boot", pool=run.pool_id, seconds=3600)
    await make_pool.fn(run, Pool(spot_nodes=1), files=2)
    assert await find_completion(run) is None
    options: Any = {"terminateReason": "by hand"}
    batch.begin_terminate_job(run.job_id, options=options)
    ending = await find_completion(run)
    assert ending
    assert ending.diagnosis
    assert ending.diagnosis.code == "JobEnded"


async def test_requests_that_fail_for_a_while_do_not_end_the_watch(
    batch: BatchClient, run: Ticket, order: Any, caplog: pytest.LogCaptureFixture
) -> None:
    order("answer", status=503, retryAfter=0, operation="GET /jobs/*/taskcounts", times=4)
    ending = await watched(run, submit(batch, run, "true"))
    assert ending.diagnosis is None
    assert caplog.text.count("Batch does not answer.") == 1


async def test_evictions_are_told_and_waited_for(
    batch: BatchClient, run: Ticket, order: Any, caplog: pytest.LogCaptureFixture
) -> None:
    order("evict", pool=run.pool_id, times=1, returnSeconds=1)
    ending = await watched(run, submit(batch, run, "sleep 1"))
    assert ending.diagnosis is None
    assert [batch_result.state for batch_result in ending.batch_results] == ["succeeded"]
    assert caplog.text.count("All Spot nodes are evicted.") == 1


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
    assert [batch_result.code for batch_result in ending.batch_results] == ["TaskEnded"]


async def test_a_wave_that_is_still_to_come_is_waited_for(batch: BatchClient, run: Ticket) -> None:
    tally = submit(batch, run, "true")
    tally.is_closed = False

    def close(news: Any) -> None:
        if news.converted == 1:
            tally.is_closed = True

    with listening(close):
        ending = await watched(run, tally)
    assert tally.is_closed
    assert len(ending.batch_results) == 1
