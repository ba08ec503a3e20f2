"""Stages in a flow: their links in Prefect's graph, their spans, and their retries."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, get_args
from uuid import UUID

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from prefect import get_client, runtime
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.concurrency.asyncio import concurrency
from prefect.states import Failed
from run_pages import stage_states

import tasks
from tasks.stage import (
    MANY,
    Stage,
    StageLog,
    StageName,
    recording,
    retry_if_answered,
    retry_if_transient,
    stage,
    timing,
    unvisited,
)

InFlow = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
PATIENCE_SECONDS = 90


def a_stage(name: StageName, *errors: Exception, **options: Any) -> Any:
    """Return a stage that raises these errors in its first attempts, and then returns its name."""
    waiting = list(errors)

    @stage(name, **options)
    async def run() -> str:
        if waiting:
            raise waiting.pop(0)
        await asyncio.sleep(0)
        return name

    return run


def response_error(status: int) -> HttpResponseError:
    error = HttpResponseError(message="fault")
    error.status_code = status
    return error


@pytest.fixture
def log(in_flow: InFlow) -> Callable[..., Awaitable[tuple[StageLog, str]]]:
    """Return a function that runs another in a flow, and returns its log and flow run id."""

    async def run(function: Callable[[], Awaitable[Any]]) -> tuple[StageLog, str]:
        stage_log = StageLog()

        async def record() -> str:
            with recording(stage_log):
                await function()
            return str(runtime.flow_run.id)

        return stage_log, await in_flow(record)

    return run


async def links(flow_run_id: str, *, task_runs: int) -> dict[str, set[str]]:
    """Return the names of the task runs, each with those that it is linked to."""
    filters = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    deadline = time.monotonic() + PATIENCE_SECONDS
    found: list[Any] = []
    async with get_client() as client:
        # The server records task runs with a delay, and first under a random name.
        while sum(bool(run.state and run.state.is_final()) for run in found) < task_runs:
            assert time.monotonic() < deadline, "timeout"
            found = await client.read_task_runs(flow_run_filter=filters)
            await asyncio.sleep(0.1)
    names = {run.id: run.name for run in found}
    return {
        run.name: {names[link.id] for link in run.task_inputs.get("wait_for", ())} for run in found
    }


async def test_a_stage_is_linked_to_the_one_before_it_and_to_no_earlier_one(log: Any) -> None:
    async def run() -> None:
        for name in ("plan", "pool", "job"):
            await a_stage(name)()

    _, flow_run_id = await log(run)
    assert await links(flow_run_id, task_runs=3) == {
        "plan": set(),
        "pool": {"plan"},
        "job": {"pool"},
    }


async def test_concurrent_stages_are_both_linked_to_the_next_stage(log: Any) -> None:
    async def run() -> None:
        await a_stage("plan")()
        await asyncio.gather(a_stage("preflight")(), a_stage("containers")())
        await a_stage("pool")()

    _, flow_run_id = await log(run)
    assert await links(flow_run_id, task_runs=4) == {
        "plan": set(),
        "preflight": {"plan"},
        "containers": {"plan"},
        "pool": {"preflight", "containers"},
    }


async def test_a_failed_stage_is_not_linked_to_the_next_stage(log: Any) -> None:
    async def run() -> None:
        await a_stage("plan")()
        with pytest.raises(ValueError, match="failed"):
            await a_stage("pool", ValueError("failed"))()
        await a_stage("cleanup")()

    _, flow_run_id = await log(run)
    assert await links(flow_run_id, task_runs=3) == {
        "plan": set(),
        "pool": {"plan"},
        "cleanup": {"plan"},
    }


async def test_spans_are_recorded_also_of_failed_stages_and_of_blocks(log: Any) -> None:
    async def run() -> None:
        await a_stage("plan")()
        with pytest.raises(ValueError, match="failed"):
            await a_stage("pool", ValueError("failed"))()
        with timing("lock"):
            await asyncio.sleep(0)

    stage_log, _ = await log(run)
    assert [span.name for span in stage_log.spans] == ["plan", "pool", "lock"]
    times = [time for span in stage_log.spans for time in (span.started_at, span.ended_at)]
    assert times == sorted(times)


async def test_a_run_of_a_stage_is_named_by_its_template(log: Any) -> None:
    @stage("upload", "upload wave {wave}")
    async def upload(files: list[str], *, wave: int) -> list[str]:
        assert wave == 2
        return files

    async def run() -> None:
        assert await upload(unvisited(["a.mp4"]), wave=2) == ["a.mp4"]

    stage_log, flow_run_id = await log(run)
    assert [span.name for span in stage_log.spans] == ["upload wave 2"]
    assert await links(flow_run_id, task_runs=1) == {"upload wave 2": set()}


async def test_a_stage_is_retried_after_a_transient_error(in_flow: InFlow) -> None:
    assert await in_flow(a_stage("pool", ServiceRequestError("no route"))) == "pool"


@pytest.mark.parametrize("error", [ValueError("wrong"), response_error(403)])
async def test_a_stage_is_not_retried_after_another_error(
    in_flow: InFlow, error: Exception
) -> None:
    with pytest.raises(type(error)):
        await in_flow(a_stage("pool", error))


async def test_a_stage_without_retries_fails_with_its_first_error(in_flow: InFlow) -> None:
    with pytest.raises(ServiceRequestError):
        await in_flow(a_stage("completion", ServiceRequestError("no route"), retries=0))


def test_first_stages_have_few_retries_completion_has_none_and_all_others_have_the_same() -> None:
    modules = [import_module(found.name) for found in walk_packages(tasks.__path__, "tasks.")]
    parts = (part for module in modules for part in vars(module).values())
    stages = {part.task.name: part.task for part in parts if isinstance(part, Stage)}
    retried = {name: (each.retries, each.retry_condition_fn) for name, each in stages.items()}
    for first in ("plan", "find leftovers"):
        assert retried.pop(first) == (3, retry_if_answered)
    assert retried.pop("completion") == (0, retry_if_transient)
    assert set(retried.values()) == {(MANY, retry_if_transient)}
    assert retried.keys() == {*get_args(StageName)} - {
        "plan",
        "find leftovers",
        "completion",
        "lock",
    }
    assert not any(each.persist_result for each in stages.values())


@pytest.fixture
async def download_limit(prefect_server: str) -> AsyncIterator[str]:
    """Limit the tag of downloads to one task run at a time, and yield the name of the limit."""
    assert prefect_server
    name = "tag:convert-download"
    async with get_client() as client:
        limit = GlobalConcurrencyLimitCreate(name=name, limit=1)
        await client.create_global_concurrency_limit(limit)
        yield name
        await client.delete_global_concurrency_limit_by_name(name)


async def test_a_download_waits_for_a_slot_of_the_limit_on_its_tag_and_other_stages_do_not(
    in_flow: InFlow, download_limit: str
) -> None:
    async def run() -> str:
        async with concurrency(download_limit):
            downloading = asyncio.create_task(a_stage("download")())
            for _ in range(5):  # each takes as long as a download that does not wait
                await a_stage("cleanup")()
            assert not downloading.done()
        return str(await downloading)

    assert await in_flow(run) == "download"


async def test_a_stage_that_is_cancelled_is_shown_as_cancelled_and_not_as_crashed(log: Any) -> None:
    begun = asyncio.Event()

    @stage("pool")
    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def run() -> None:
        waiting = asyncio.create_task(wait())
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    stage_log, flow_run_id = await log(run)
    assert [span.is_failed for span in stage_log.spans] == [True]
    assert await stage_states(UUID(flow_run_id)) == {"pool": "Cancelled"}


async def test_the_plain_function_of_a_stage_runs_without_a_flow() -> None:
    assert await a_stage("cleanup").fn() == "cleanup"


def decide(condition: Callable[..., bool], error: Exception) -> bool:
    unused: Any = None
    task_run = TaskRun(task_key="key", dynamic_key="0")
    return condition(unused, task_run, Failed(data=error))


@pytest.mark.parametrize(
    ("error", "transient", "answered"),
    [
        (response_error(503), True, True),
        (response_error(429), True, True),
        (response_error(403), False, False),
        (ResourceNotFoundError("gone"), True, True),  # without a status, it was cut off
        (ServiceRequestError("no route"), True, False),
        (ServiceResponseError("closed"), True, False),
        (TimeoutError(), False, False),
    ],
)
def test_the_first_stage_is_retried_only_if_the_service_has_responded(
    error: Exception,
    transient: bool,  # noqa: FBT001  a table
    answered: bool,  # noqa: FBT001  a table
) -> None:
    assert decide(retry_if_transient, error) is transient
    assert decide(retry_if_answered, error) is answered
