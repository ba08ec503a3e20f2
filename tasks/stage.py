"""The stages of a run: Prefect tasks that are retried, timed and linked to earlier stages."""

import logging
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast

from azure.core.exceptions import AzureError, HttpResponseError
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateDetails, TaskRun
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed
from prefect.tasks import Task
from prefect.utilities.annotations import opaque

from tasks.azure.api_errors import is_transient
from tasks.azure.error_wording import explain
from tasks.models import Span
from tasks.outages import PAUSES_SECONDS, Outage

StageName = Literal[  # in the order of a run
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
    "remember",
    "cleanup",
    "download",
    "report",
    "find leftovers",
    "delete leftovers",
]
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
# Stages that read or send whole files. Their tag lets Prefect limit how many run at the same time.
# Others have none: a stage that watches or ends nodes must not wait, and each tag costs a request.
TAGGED: tuple[StageName, ...] = ("plan", "upload", "download")
MANY = 100  # retries: the length of an outage ends them
FEW = 3
ENDED = "The run ended during this stage."
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class StageLog:
    """When the stages of one run began and ended, and which stages no other stage follows yet."""

    spans: list[Span] = field(default_factory=list)
    latest: tuple[State[Any], ...] = ()

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Record a span for the block, also if it fails."""
        started_at, is_failed = datetime.now(UTC), True
        try:
            yield
            is_failed = False
        finally:
            self.spans.append(Span(name, started_at, datetime.now(UTC), is_failed=is_failed))

    def follow(self, earlier: tuple[State[Any], ...], state: State[Any]) -> None:
        """Link later stages to this one instead of to the stages that it follows."""
        self.latest = (*(s for s in self.latest if s not in earlier), link_to(state))


_current_log: ContextVar[StageLog | None] = ContextVar("stage log", default=None)
_current_outage: ContextVar[Outage | None] = ContextVar("outage", default=None)
_current_ends: ContextVar[list[BaseException]] = ContextVar("interruptions of this call")


@contextmanager
def recording(log: StageLog) -> Iterator[None]:
    """Use this log for the stages of the block and of all asyncio tasks that it starts."""
    token = _current_log.set(log)
    try:
        yield
    finally:
        _current_log.reset(token)


def timing(name: StageName) -> AbstractContextManager[None]:
    """Record a span for a block that is a stage but not a Prefect task."""
    return current_log().timing(name)


def current_log() -> StageLog:
    return _current_log.get() or StageLog()


def link_to(state: State[Any]) -> State[Any]:
    """Return a state that represents a task run in Prefect's graph, without its result."""
    details = StateDetails(task_run_id=state.state_details.task_run_id)
    return Completed(data="", state_details=details)


@dataclass(frozen=True, slots=True)
class Stage(Generic[Parameters, Result]):
    """A stage. Call it in a flow. `fn` is the plain function, for Prefect's hooks."""

    fn: Callable[Parameters, Coroutine[Any, Any, Result]]
    task: Task[..., Any]

    async def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        log = current_log()
        earlier = log.latest
        run: Any = self.task
        ends: list[BaseException] = []
        _current_outage.set(Outage())  # a new one for each call, which is a task run
        _current_ends.set(ends)
        with log.timing(str(self.task.task_run_name).format(**kwargs)):
            # Without `opaque`, Prefect visits each part of a state three times.
            wait_for = [opaque(state) for state in earlier]
            state = await run(*args, **kwargs, wait_for=wait_for, return_state=True)
            if ends:
                raise ends[0]
            result = await state.aresult()
        log.follow(earlier, state)
        return cast(Result, result)


def stage(
    name: StageName,
    run_name: str = "",
    *,
    retries: int = MANY,
    retry_condition: Callable[[Task[..., Any], TaskRun, State[Any]], bool] | None = None,
) -> Callable[[Callable[Parameters, Coroutine[Any, Any, Result]]], Stage[Parameters, Result]]:
    """Turn a function into a stage.

    What stages create is outside Prefect, so nothing is cached: a retry must not receive a pool
    that is gone. By default, transient errors are retried for some minutes.

    Args:
        name: The name of the Prefect task.
        run_name: A template for the names of its runs, with the names of keyword arguments in
            braces. Empty: the name of the task.
        retries: The number of times that Prefect retries it.
        retry_condition: Decides whether an error is retried. Default: `retry_if_transient`.
    """

    def decorate(
        function: Callable[Parameters, Coroutine[Any, Any, Result]],
    ) -> Stage[Parameters, Result]:
        made = task(
            name=name,
            task_run_name=run_name or name,
            tags=[f"convert-{name}"] if name in TAGGED else None,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=retries,
            retry_delay_seconds=list(PAUSES_SECONDS),
            retry_jitter_factor=0.5,
            retry_condition_fn=retry_condition or retry_if_transient,
        )(ending_as_cancelled(function))
        return Stage(function, made)

    return decorate


def ending_as_cancelled(
    function: Callable[Parameters, Coroutine[Any, Any, Result]],
) -> Callable[Parameters, Coroutine[Any, Any, Result | State[Any]]]:
    """Return the function of a task that Prefect shows as cancelled if it is interrupted.

    Otherwise Prefect shows it as crashed. The call of the stage raises the interruption again.
    """

    @wraps(function)
    async def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result | State[Any]:
        try:
            return await function(*args, **kwargs)
        except (CancelledError, TerminationSignal) as interruption:
            _current_ends.get().append(interruption)
            return Cancelled(message=ENDED)

    return run


def unvisited(value: Result) -> Result:
    """Pass a value to a stage as a whole.

    Otherwise Prefect visits each part of it three times, looking for results of other stages.
    That takes 90 us and 1.3 KB for each file of a plan.
    """
    return cast(Result, opaque(value))


def retry_if_transient(
    task: Task[..., Any],  # noqa: ARG001  Prefect passes all three
    task_run: TaskRun,
    state: State[Any],
) -> bool:
    """Return whether the same request may succeed later, and the outage is not too long yet."""
    error = state.data
    if not isinstance(error, AzureError) or not is_transient(error):
        return False
    outage, now = _current_outage.get() or Outage(), datetime.now(UTC)
    attempted_at = task_run.state.timestamp if task_run.state else now
    if not outage.is_tolerable(attempted_at=attempted_at, now=now):
        return False
    logger.warning("%s Retrying.", explain(error).problem)
    return True


def retry_if_answered(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether the service responded, and the same request may succeed later.

    This is the rule of the first stage. An endpoint that does not respond may be misspelled, so
    it is reported without delay.
    """
    is_answer = isinstance(state.data, HttpResponseError)
    return is_answer and retry_if_transient(task, task_run, state)
