"""What all stages have in common as Prefect tasks."""

import logging
from typing import Any, TypeVar, cast

from azure.core.exceptions import AzureError, HttpResponseError
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff
from prefect.utilities.annotations import opaque

from tasks.azure.api_errors import is_transient
from tasks.azure.error_wording import explain

Value = TypeVar("Value")
logger = logging.getLogger(__name__)


def unvisited(value: Value) -> Value:
    """For a stage: Prefect would look into each part, three times, for other stages' results.

    That takes 90 us and 1.3 KB for each file of a plan. Whose result the whole is, it still sees.
    """
    return cast(Value, opaque(value))


def retry_if_transient(
    task: Task[..., Any],  # noqa: ARG001  Prefect passes all three
    task_run: TaskRun,  # noqa: ARG001
    state: State[Any],
) -> bool:
    error = state.data
    if not isinstance(error, AzureError) or not is_transient(error):
        return False
    logger.warning("%s It is tried again.", explain(error).problem)
    return True


def retry_if_answered(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """As above, where there was an answer: an endpoint that nobody answers at is told soon."""
    is_answer = isinstance(state.data, HttpResponseError)
    return is_answer and retry_if_transient(task, task_run, state)


# What a stage makes is outside: a retry must never be handed a pool that no longer is.
STAGE: Any = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": retry_if_transient,
}
FIRST_STAGE: Any = STAGE | {"retry_condition_fn": retry_if_answered}
