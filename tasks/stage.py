"""What all stages have in common as Prefect tasks."""

from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from tasks.clients import is_transient


def retry_if_transient(
    task: Task[..., Any],  # noqa: ARG001  Prefect passes all three
    task_run: TaskRun,  # noqa: ARG001
    state: State[Any],
) -> bool:
    return isinstance(state.data, BaseException) and is_transient(state.data)


# What a stage makes is outside: a retry must never be handed a pool that no longer is.
STAGE: Any = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": retry_if_transient,
}
