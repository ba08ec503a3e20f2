"""The stages of a run: Prefect tasks that are retried, timed and linked to the stages before."""

import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast

from azure.core.exceptions import AzureError, HttpResponseError
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateDetails, TaskRun
from prefect.states import Completed
from prefect.tasks import Task, exponential_backoff
from prefect.utilities.annotations import opaque

from tasks.azure.api_errors import is_transient
from tasks.azure.error_wording import explain
from tasks.models import Span

StageName = Literal[  # in the order in which a run comes to them
    "plan",
    "preflight",
    "containers",
    "lock",
    "confirm",
    "predecessor",
    "pool",
    "job",
    "upload",
    "submit",
    "completion",
    "release",
    "outputs",
    "cleanup",
    "download",
    "report",
    "find leftovers",
    "delete leftovers",
]
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
RETRIES = 3
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class StageLog:
    """When the stages of one run began and ended, and which of them no other stage has followed."""

    spans: list[Span] = field(default_factory=list)
    latest: tuple[State[Any], ...] = ()

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Record a span of that name for the block, also if it fails."""
        started_at = datetime.now(UTC)
        try:
            yield
        finally:
            self.spans.append(Span(name, started_at, datetime.now(UTC)))

    def follow(self, earlier: tuple[State[Any], ...], state: State[Any]) -> None:
        """Let later stages follow this one, instead of those that it followed."""
        self.latest = (*(s for s in self.latest if s not in earlier), link_to(state))


_current_log: ContextVar[StageLog | None] = ContextVar("stage log", default=None)


@contextmanager
def recording(log: StageLog) -> Iterator[None]:
    """Record the stages of the block, and of all asyncio tasks that it starts, in this log."""
    token = _current_log.set(log)
    try:
        yield
    finally:
        _current_log.reset(token)


def timing(name: StageName) -> Any:
    """Record a span for a stage that is not a Prefect task: a block."""
    return current_log().timing(name)


def current_log() -> StageLog:
    return _current_log.get() or StageLog()


def link_to(state: State[Any]) -> State[Any]:
    """Return a state that stands for a task run in Prefect's graph, without its result."""
    details = StateDetails(task_run_id=state.state_details.task_run_id)
    return Completed(data="", state_details=details)


@dataclass(frozen=True, slots=True)
class Stage(Generic[Parameters, Result]):
    """A stage. Call it within a flow; `fn` is the plain function, for Prefect's hooks."""

    fn: Callable[Parameters, Coroutine[Any, Any, Result]]
    task: Task[..., Any]

    async def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        log = current_log()
        earlier = log.latest
        run: Any = self.task
        with log.timing(str(self.task.task_run_name).format(**kwargs)):
            # Prefect would look into each part of a state, three times.
            wait_for = [opaque(state) for state in earlier]
            state = await run(*args, **kwargs, wait_for=wait_for, return_state=True)
            result = await state.aresult()
        log.follow(earlier, state)
        return cast(Result, result)


def stage(
    name: StageName,
    run_name: str = "",
    *,
    retries: int = RETRIES,
    retry_condition: Callable[[Task[..., Any], TaskRun, State[Any]], bool] | None = None,
) -> Callable[[Callable[Parameters, Coroutine[Any, Any, Result]]], Stage[Parameters, Result]]:
    """Make a stage of a function.

    What stages create is outside Prefect, so nothing is cached: a retry must not receive a pool
    that is gone. Only transient errors are retried.

    Args:
        name: The name of the Prefect task.
        run_name: The name of its runs, if they differ: a template of the arguments' names.
        retries: How often Prefect retries it.
        retry_condition: Whether to retry after an error. Default: if it is transient.
    """

    def decorate(
        function: Callable[Parameters, Coroutine[Any, Any, Result]],
    ) -> Stage[Parameters, Result]:
        made = task(
            name=name,
            task_run_name=run_name or name,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=retries,
            retry_delay_seconds=exponential_backoff(backoff_factor=2),
            retry_jitter_factor=0.5,
            retry_condition_fn=retry_condition or retry_if_transient,
        )(function)
        return Stage(function, made)

    return decorate


def unvisited(value: Result) -> Result:
    """Pass a value to a stage as a whole.

    Prefect would look into each part of it, three times, for results of other stages. That takes
    90 us and 1.3 KB for each file of a plan.
    """
    return cast(Result, opaque(value))


def retry_if_transient(
    task: Task[..., Any],  # noqa: ARG001  Prefect passes all three
    task_run: TaskRun,  # noqa: ARG001  as above
    state: State[Any],
) -> bool:
    """Return whether the same request may succeed later."""
    error = state.data
    if not isinstance(error, AzureError) or not is_transient(error):
        return False
    logger.warning("%s Retrying.", explain(error).problem)
    return True


def retry_if_answered(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether to retry the first stage: only if the service responded.

    An endpoint that does not respond is reported early: it may be misspelled.
    """
    is_answer = isinstance(state.data, HttpResponseError)
    return is_answer and retry_if_transient(task, task_run, state)
