"""Operations on tasks."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from local_azure.batch import refusals, specs, views, wire
from local_azure.batch.error_codes import BatchError, invalid_property
from local_azure.batch.job_life import check_open
from local_azure.batch.operations import check_identities, service_of
from local_azure.batch.state import Job, Task, TaskState

LARGEST_COLLECTION = 100
FILTERABLE = (
    "id",
    "displayName",
    "state",
    "previousState",
    "creationTime",
    "lastModified",
    "stateTransitionTime",
    "executionInfo",
    "nodeInfo",
)


async def add(request: Request) -> Response:
    spec = await wire.read(request, specs.TaskSpec)
    task = _add(request, _open_job(request), spec)
    location = f"{wire.base(request)}/jobs/{task.job.id}/tasks/{task.id}"
    return wire.empty(201, etag=task.etag, modified=task.modified, location=location)


def _add(request: Request, job: Job, spec: specs.TaskSpec) -> Task:
    service = service_of(request)
    check_identities(service, (*(spec.resource_files or ()), *(spec.output_files or ())))
    pool = service.registry.pools.get(job.pool_key)
    if pool is not None and spec.required_slots > pool.slots_per_node:
        raise invalid_property(
            "requiredSlots",
            spec.required_slots,
            f"A node of the job's pool has {pool.slots_per_node} slots",
        )
    return service.dispatch.add(job, spec)


async def add_collection(request: Request) -> Response:
    """Add each task on its own: a refused one does not affect the others."""
    given = (await wire.read(request, specs.TaskCollection)).value
    if len(given) > LARGEST_COLLECTION:
        raise BatchError("RequestBodyTooLarge", Reason="A collection has 100 tasks at most")
    job = _open_job(request)
    return wire.answer({"value": [_add_one(request, job, document) for document in given]})


def _add_one(request: Request, job: Job, document: Mapping[str, Any]) -> dict[str, Any]:
    given_id = document.get("id")
    task_id = given_id[:64] if isinstance(given_id, str) else ""
    try:
        task = _add(request, job, wire.parse(document, specs.TaskSpec))
    except BatchError as error:
        refusals.note(request.scope, error)
        operation = f"{request.method} {request.url.path}"
        service_of(request).recent_refusals.add(operation, error.status, error.body())
        return {"status": "clienterror", "taskId": task_id, "error": error.body()}
    return {
        "status": "success",
        "taskId": task.id,
        "eTag": task.etag,
        "lastModified": task.modified,
        "location": f"{wire.base(request)}/jobs/{job.id}/tasks/{task.id}",
    }


async def listing(request: Request) -> Response:
    tasks = list(
        service_of(request).registry.job(request.path_params["job"]).tasks.values()
    )  # oldest first
    # Skip earlier pages without looking at their tasks: a job can have many pages.
    first = bisect_right(tasks, wire.parameters(request).get("$skiptoken", ""), key=_mark)
    return wire.page(
        request,
        ((_mark(task), task) for task in islice(tasks, first, None)),
        views.task(wire.base(request)),
        filterable=FILTERABLE,
    )


def _mark(task: Task) -> str:
    return f"{task.serial:012}"


async def get(request: Request) -> Response:
    return wire.one(request, _task(request), views.task(wire.base(request)))


async def replace(request: Request) -> Response:
    constraints = (await wire.read(request, specs.TaskChange)).constraints
    task = _changeable(request)
    if task.state is TaskState.COMPLETED:
        raise BatchError("TaskCompleted")
    task.spec = task.spec.model_copy(update={"constraints": constraints})
    task.touch(service_of(request).clock.now())
    return _done(request, task, 200)


async def terminate(request: Request) -> Response:
    task = _changeable(request)
    if task.state is TaskState.COMPLETED:
        raise BatchError("TaskCompleted")
    service_of(request).dispatch.end(task, "The task was terminated by a request")
    task.touch(service_of(request).clock.now())
    return _done(request, task, 204)


async def reactivate(request: Request) -> Response:
    task = _changeable(request)
    check_open(task.job)
    service_of(request).dispatch.reactivate(task)
    return _done(request, task, 204)


async def delete(request: Request) -> Response:
    await service_of(request).dispatch.delete(_changeable(request))
    return wire.empty(200)


def _task(request: Request) -> Task:
    return service_of(request).registry.task(
        request.path_params["job"], request.path_params["task"]
    )


def _changeable(request: Request) -> Task:
    task = _task(request)
    wire.check_conditions(request, task.etag, task.modified)
    return task


def _open_job(request: Request) -> Job:
    job = service_of(request).registry.job(request.path_params["job"])
    check_open(job)
    return job


def _done(request: Request, task: Task, status: int) -> Response:
    location = f"{wire.base(request)}/jobs/{task.job.id}/tasks/{task.id}"
    return wire.empty(status, etag=task.etag, modified=task.modified, location=location)
