from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from hypothesis import given
from hypothesis import strategies as st
from reactions import reacting_to
from records import a_pool, a_ticket

from tasks.azure.nodes import Roster
from tasks.azure.snapshots import Snapshot
from tasks.azure.tags import tags
from tasks.completion import (
    Completion,
    find_completion,
    is_complete,
    is_settled,
    is_survey_due,
    pause_before_poll,
    poll_seconds,
    to_progress,
    watch_completion,
)
from tasks.models import BatchResult, Ticket
from tasks.pool import make_pool
from tasks.results.forecast import Forecast
from tasks.results.listeners import listening
from tasks.results.progress import Progress, Tally

ALL_EVICTED = "All Spot nodes are evicted."
WAITING = Snapshot(seconds_left=60, elapsed_seconds=10, active=3, is_steady=True)


@given(st.floats(0, 1e6))
def test_the_pause_is_a_tenth_of_the_elapsed_time_within_bounds(elapsed_seconds: float) -> None:
    assert 0.25 <= poll_seconds(elapsed_seconds) <= 15
    if 2.5 <= elapsed_seconds <= 150:
        assert poll_seconds(elapsed_seconds) == elapsed_seconds / 10


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_near_the_end_the_pause_is_half_of_the_time_left(elapsed: float, left: float) -> None:
    pause_seconds = poll_seconds(elapsed, left_seconds=left)
    assert 0.25 <= pause_seconds <= poll_seconds(elapsed)
    assert pause_seconds <= max(0.25, left / 2)


@given(st.floats(0, 120), st.floats(0, 2))
def test_the_last_seconds_of_a_short_run_are_watched_closely(elapsed: float, left: float) -> None:
    assert poll_seconds(elapsed, left_seconds=left) == 0.25


def test_a_last_file_that_takes_a_minute_longer_causes_few_polls() -> None:
    stalled_seconds, polls = 0.0, 0
    while stalled_seconds < 60:
        stalled_seconds += poll_seconds(600 + stalled_seconds, left_seconds=stalled_seconds)
        polls += 1
    assert polls <= 15


def test_a_run_is_complete_after_the_last_wave_when_all_its_batch_tasks_are_completed() -> None:
    snapshot = replace(WAITING, active=0, succeeded=2, failed=1)
    assert is_complete(snapshot, Tally(submitted=3, is_closed=True))
    assert not is_complete(snapshot, Tally(submitted=3))
    assert not is_complete(snapshot, Tally(submitted=4, is_closed=True))


def test_a_run_ends_only_when_the_list_confirms_the_counts() -> None:
    batch_results = [BatchResult("a", 1, "succeeded"), BatchResult("b", 1, "running")]
    assert not is_settled(batch_results, Tally(submitted=2))
    assert is_settled(batch_results, Tally(submitted=1))


def test_at_most_ten_requests_are_sent_in_the_third_minute() -> None:
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
        files=10, converted=4, failed=2, running=2, nodes=2, seconds_left=None
    )


def test_a_file_in_its_second_attempt_does_not_count_as_failed() -> None:
    snapshot = replace(WAITING, active=0, running=1, succeeded=3, failed=1)
    seen = to_progress(snapshot, Tally(files=4, submitted=5))
    assert (seen.converted, seen.failed, seen.running) == (3, 0, 1)
    last = to_progress(replace(snapshot, running=0, succeeded=4), Tally(files=4, submitted=5))
    assert (last.converted, last.failed) == (4, 0)


def test_the_pause_begins_anew_when_the_first_file_starts() -> None:
    forecast = Forecast()
    forecast.expect([7.0] * 9, uploads=[], now=0)
    assert pause_before_poll(forecast, elapsed_seconds=120, now=120) == 12
    forecast.observe(120, started=2, ended=0)
    assert pause_before_poll(forecast, elapsed_seconds=120, now=120) == 0.25
    assert pause_before_poll(forecast, elapsed_seconds=170, now=170) == 5


def test_in_an_outage_at_the_end_polls_are_few() -> None:
    forecast = Forecast()
    forecast.expect([1.0] * 20, uploads=[], now=0)
    forecast.note_wave([1.0] * 20, files=20, now=0)
    for tenth in range(390):
        forecast.observe(tenth / 10, started=min(20, tenth // 20 + 1), ended=tenth // 20)
    assert 0 < (forecast.seconds_left() or 0) < 2
    now, polls = 39.0, 0
    while now < 99:
        now += pause_before_poll(forecast, elapsed_seconds=now, now=now)
        polls += 1
    assert polls < 25


@pytest.fixture
def run(batch: BatchClient) -> Iterator[Ticket]:
    """Return the ticket of a run with a job. Its pool does not exist yet."""
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
        with suppress(ResourceNotFoundError, ResourceExistsError):  # the test deleted it
            delete(name)


def submit(batch: BatchClient, ticket: Ticket, *scripts: str) -> Tally:
    for number, script in enumerate(scripts):
        batch_task = models.BatchTaskCreateOptions(
            id=f"k{number}-1", command_line=f"/bin/sh -c '{script}'"
        )
        batch.create_task(ticket.job_id, batch_task)
    return Tally(files=len(scripts), submitted=len(scripts), is_closed=True)


async def watch(ticket: Ticket, tally: Tally) -> Completion:
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=2)
    completion: Completion = await watch_completion.fn(ticket, tally, Roster())
    return completion


async def test_the_watch_publishes_progress_and_ends_when_all_are_completed(
    batch: BatchClient, run: Ticket
) -> None:
    published: list[Any] = []
    with listening(published.append):
        completion = await watch(run, submit(batch, run, "true", "exit 3", "true"))
    assert completion.diagnosis is None
    assert {r.key: (r.state, r.exit_code) for r in completion.batch_results} == {
        "k0": ("succeeded", 0),
        "k1": ("failed", 3),
        "k2": ("succeeded", 0),
    }
    assert (published[-1].files, published[-1].converted, published[-1].failed) == (3, 2, 1)


async def test_counts_that_are_ahead_of_the_list_do_not_end_the_watch_early(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("lag", seconds=0.5)
    completion = await watch(run, submit(batch, run, "true"))
    assert [result.state for result in completion.batch_results] == ["succeeded"]


async def test_counts_that_never_reach_the_end_do_not_prevent_the_end_of_the_watch(
    batch: BatchClient, run: Ticket, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.completion.STALL_SECONDS", 0.5)
    order("lag", seconds=3600)
    completion = await watch(run, submit(batch, run, "sleep 1", "true"))
    assert completion.diagnosis is None
    assert [result.state for result in completion.batch_results] == ["succeeded"] * 2


async def test_the_output_of_a_failed_start_task_is_in_the_diagnosis(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("starttask", pool=run.pool_id, exitCode=100)
    completion = await watch(run, submit(batch, run, "true"))
    assert completion.diagnosis
    assert completion.diagnosis.code == "StartTaskFailed"
    assert "printed: This failure was ordered as a fault." in completion.diagnosis.detail
    assert completion.batch_results == ()


async def test_a_resize_error_is_explained_with_its_details(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("resize", pool=run.pool_id, code="UnsupportedVMSize")
    completion = await watch(run, submit(batch, run, "true"))
    assert completion.diagnosis
    assert completion.diagnosis.code == "UnsupportedVMSize"
    assert "(Reason: The resize was told to fail)" in completion.diagnosis.detail


async def test_failed_start_tasks_end_the_watch_even_during_uploads(
    run: Ticket, order: Any
) -> None:
    order("starttask", pool=run.pool_id)
    completion = await watch(run, Tally(files=2))
    assert completion.diagnosis
    assert completion.diagnosis.code == "StartTaskFailed"


async def test_unusable_nodes_end_the_watch_with_the_message_of_batch(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    def lose(_: Any) -> None:
        for node in batch.list_nodes(run.pool_id):
            order("lose", pool=run.pool_id, node=node.id)

    order("boot", pool=run.pool_id, seconds=3600)
    tally = submit(batch, run, "true")
    with listening(lose):
        completion = await watch(run, tally)
    assert completion.diagnosis
    assert completion.diagnosis.code == "NodesUnusable"
    assert "The node was lost by order" in completion.diagnosis.detail


@pytest.mark.parametrize("is_closed", [True, False])
async def test_the_watch_ends_when_the_pool_is_deleted(
    batch: BatchClient,
    run: Ticket,
    is_closed: bool,  # noqa: FBT001  as in Tally
) -> None:
    tally = submit(batch, run, "sleep 60")
    tally.is_closed = is_closed

    def delete(news: Progress) -> None:
        if news.running:
            batch.begin_delete_pool(run.pool_id)

    with listening(delete):
        completion = await watch(run, tally)
    assert completion.diagnosis
    assert completion.diagnosis.code == "PoolDeleted"


async def test_the_watch_ends_when_the_job_is_deleted(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("boot", pool=run.pool_id, seconds=3600)
    tally = submit(batch, run, "true")
    batch.begin_delete_job(run.job_id, polling_interval=0).wait()
    completion = await watch(run, tally)
    assert completion.diagnosis
    assert completion.diagnosis.code == "JobDeleted"
    assert completion.batch_results == ()


async def test_the_cause_of_a_failed_wave_is_found(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("boot", pool=run.pool_id, seconds=3600)
    await make_pool.fn(run, a_pool(spot_nodes=1), files=2)
    assert await find_completion(run) is None
    options: Any = {"terminateReason": "by hand"}
    batch.begin_terminate_job(run.job_id, options=options)
    completion = await find_completion(run)
    assert completion
    assert completion.diagnosis
    assert completion.diagnosis.code == "JobEnded"


@pytest.mark.usefixtures("quick_retries")
async def test_requests_that_fail_for_a_while_do_not_end_the_watch(
    batch: BatchClient, run: Ticket, order: Any, caplog: pytest.LogCaptureFixture
) -> None:
    order("answer", status=503, retryAfter=0, operation="GET /jobs/*/taskcounts", times=4)
    completion = await watch(run, submit(batch, run, "true"))
    assert completion.diagnosis is None
    assert caplog.text.count("Batch does not answer.") == 1


async def test_the_watch_reports_evictions_and_waits(
    batch: BatchClient,
    run: Ticket,
    order: Any,
    clear_faults: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    order("evict", pool=run.pool_id, times=1, returnSeconds=3600)
    with reacting_to(ALL_EVICTED, clear_faults):
        completion = await watch(run, submit(batch, run, "true"))
    assert completion.diagnosis is None
    assert [result.state for result in completion.batch_results] == ["succeeded"]
    assert caplog.text.count(ALL_EVICTED) == 1


async def test_the_watch_ends_at_the_deadline(batch: BatchClient, run: Ticket) -> None:
    late = replace(run, deadline=datetime.now(UTC))
    completion = await watch(late, submit(batch, run, "true", "true"))
    assert completion.diagnosis
    assert completion.diagnosis.code == "DeadlinePassed"


@pytest.mark.usefixtures("quick_retries")
async def test_the_watch_asks_how_the_run_ended_also_if_the_deadline_passes_in_an_outage(
    batch: BatchClient, run: Ticket, order: Any
) -> None:
    order("answer", status=503, retryAfter=0, operation="GET /jobs/*", times=12)
    late = replace(run, deadline=datetime.now(UTC))
    completion = await watch(late, submit(batch, run, "true", "true"))
    assert completion.diagnosis
    assert completion.diagnosis.code == "DeadlinePassed"


async def test_results_that_cannot_be_listed_end_the_watch_after_minutes(
    batch: BatchClient, run: Ticket, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.outages.OUTAGE_SECONDS", 3)
    order("answer", status=503, retryAfter=0, operation="GET /jobs/*/tasks")
    with pytest.raises(HttpResponseError, match="ServerBusy"):
        await watch(run, submit(batch, run, "true"))


@pytest.mark.parametrize("is_closed", [True, False])
async def test_the_watch_ends_when_the_job_is_terminated(
    batch: BatchClient,
    run: Ticket,
    order: Any,
    is_closed: bool,  # noqa: FBT001  as in Tally
) -> None:
    order("boot", pool=run.pool_id, seconds=3600)
    tally = submit(batch, run, "true")
    tally.is_closed = is_closed
    options: Any = {"terminateReason": "by hand"}
    batch.begin_terminate_job(run.job_id, options=options)
    completion = await watch(run, tally)
    assert completion.diagnosis
    assert completion.diagnosis.code == "JobEnded"
    assert [result.code for result in completion.batch_results] == ["TaskEnded"]


async def test_the_watch_waits_for_further_waves(batch: BatchClient, run: Ticket) -> None:
    tally = submit(batch, run, "true")
    tally.is_closed = False

    def close(news: Any) -> None:
        if news.converted == 1:
            tally.is_closed = True

    with listening(close):
        completion = await watch(run, tally)
    assert tally.is_closed
    assert len(completion.batch_results) == 1
