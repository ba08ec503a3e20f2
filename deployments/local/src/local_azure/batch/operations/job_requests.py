"""Operations on jobs."""

from starlette.requests import Request
from starlette.responses import Response

from local_azure.batch import specs, views, wire
from local_azure.batch.error_codes import BatchError, invalid_property
from local_azure.batch.job_life import check_open
from local_azure.batch.operations import service_of
from local_azure.batch.state import Job, JobState

FILTERABLE = (
    "id",
    "displayName",
    "state",
    "previousState",
    "priority",
    "creationTime",
    "lastModified",
    "stateTransitionTime",
    "executionInfo",
    "onAllTasksComplete",
)


async def add(request: Request) -> Response:
    spec = await wire.read(request, specs.JobSpec)
    job = service_of(request).job_life.add(spec)
    location = f"{wire.base(request)}/jobs/{job.id}"
    return wire.empty(201, etag=job.etag, modified=job.modified, location=location)


async def listing(request: Request) -> Response:
    view = views.job(wire.base(request))
    return wire.page(
        request, sorted(service_of(request).registry.jobs.items()), view, filterable=FILTERABLE
    )


async def get(request: Request) -> Response:
    return wire.one(request, _job(request), views.job(wire.base(request)))


async def update(request: Request) -> Response:
    change = await wire.read(request, specs.JobChange)
    job = _changeable(request)
    given = {name: getattr(change, name) for name in change.model_fields_set}
    return _change(request, job, {name: v for name, v in given.items() if v is not None})


async def replace(request: Request) -> Response:
    change = await wire.read(request, specs.JobReplacement)
    names = type(change).model_fields
    return _change(request, _changeable(request), {name: getattr(change, name) for name in names})


def _change(request: Request, job: Job, fields: dict[str, object]) -> Response:
    check_open(job)
    spec = job.spec.model_copy(update=fields)
    was_on, is_on = job.spec.on_all_tasks_complete, spec.on_all_tasks_complete
    if was_on == "terminatejob" and is_on != "terminatejob":
        raise invalid_property(
            "onAllTasksComplete", is_on, "It cannot be changed back from terminatejob"
        )
    if spec.pool_info != job.spec.pool_info and job.state is not JobState.DISABLED:
        raise BatchError("OperationInvalidForCurrentState", Reason="The job is not disabled")
    service_of(request).job_life.change(job, spec)
    return _done(request, job, 200)


async def disable(request: Request) -> Response:
    what = (await wire.read(request, specs.JobDisable)).disable_tasks
    job = _changeable(request)
    check_open(job)
    service_of(request).job_life.disable(job, what)
    return _touched(request, job)


async def enable(request: Request) -> Response:
    job = _changeable(request)
    check_open(job)
    service_of(request).job_life.enable(job)
    return _touched(request, job)


async def terminate(request: Request) -> Response:
    reason = (await wire.read(request, specs.JobTerminate)).terminate_reason
    job = _changeable(request)
    check_open(job)
    service_of(request).job_life.terminate(job, reason or "UserTerminate")
    return _touched(request, job)


async def delete(request: Request) -> Response:
    job = _changeable(request)
    service_of(request).job_life.delete(job)
    return wire.empty(202)


async def task_counts(request: Request) -> Response:
    return wire.answer(service_of(request).task_counts.of(_job(request)))


def _job(request: Request) -> Job:
    return service_of(request).registry.job(request.path_params["job"])


def _changeable(request: Request) -> Job:
    job = _job(request)
    wire.check_conditions(request, job.etag, job.modified)
    return job


def _touched(request: Request, job: Job) -> Response:
    job.touch(service_of(request).clock.now())
    return _done(request, job, 202)


def _done(request: Request, job: Job, status: int) -> Response:
    location = f"{wire.base(request)}/jobs/{job.id}"
    return wire.empty(status, etag=job.etag, modified=job.modified, location=location)
