"""Operations on pools and images."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from local_azure.batch import autoscale, images, specs, views, wire
from local_azure.batch.allocation import scale_failure
from local_azure.batch.error_codes import BatchError, invalid_property
from local_azure.batch.operations import check_identities, service_of
from local_azure.batch.service import Service
from local_azure.batch.state import AllocationState, Pool, PoolState

FORMULA_PAUSE = timedelta(seconds=30)
FILTERABLE = (
    "id",
    "displayName",
    "state",
    "allocationState",
    "creationTime",
    "lastModified",
    "stateTransitionTime",
    "allocationStateTransitionTime",
    "enableAutoScale",
    "vmSize",
)


async def add(request: Request) -> Response:
    spec = await wire.read(request, specs.PoolSpec)
    images.check(spec.virtual_machine_configuration)
    _check_slots(spec)
    _check_scaling(spec)
    check_identities(
        service_of(request), (spec.start_task and spec.start_task.resource_files) or ()
    )
    pool = service_of(request).allocation.add(spec)
    location = f"{wire.base(request)}/pools/{pool.id}"
    return wire.empty(201, etag=pool.etag, modified=pool.modified, location=location)


def _check_slots(spec: specs.PoolSpec) -> None:
    cores = specs.vm_cores(spec.vm_size)
    most = min(4 * cores, 256) if cores else 256
    if (spec.task_slots_per_node or 1) > most:
        raise invalid_property(
            "taskSlotsPerNode",
            spec.task_slots_per_node,
            f"A node of size {spec.vm_size} has {most} slots at most",
        )


def _check_scaling(spec: specs.PoolSpec) -> None:
    targets = (spec.target_dedicated_nodes, spec.target_low_priority_nodes)
    if spec.enable_auto_scale and not spec.auto_scale_formula:
        raise BatchError("MissingRequiredProperty", PropertyName="autoScaleFormula")
    if spec.enable_auto_scale and any(target is not None for target in targets):
        raise invalid_property(
            "targetDedicatedNodes", targets, "Node targets cannot be set while autoscale is on"
        )
    if spec.auto_scale_formula and not spec.enable_auto_scale:
        raise invalid_property(
            "autoScaleFormula", spec.auto_scale_formula, "enableAutoScale is not true"
        )


async def listing(request: Request) -> Response:
    return wire.page(
        request,
        sorted(service_of(request).registry.pools.items()),
        _view(request),
        filterable=FILTERABLE,
    )


async def get(request: Request) -> Response:
    return wire.one(request, _pool(request), _view(request))


def _view(request: Request) -> wire.View[Pool]:
    return views.pool(wire.base(request), directory=service_of(request).directory)


async def exists(request: Request) -> Response:
    pool = _pool(request)
    wire.not_modified(request, pool.etag, pool.modified)
    return wire.empty(200, etag=pool.etag, modified=pool.modified)


async def update(request: Request) -> Response:
    change = await wire.read(request, specs.PoolChange)
    pool = _changeable(request)
    fields = {name: getattr(change, name) for name in change.model_fields_set}
    return _replace(request, pool, {n: v for n, v in fields.items() if v is not None}, status=200)


async def replace_properties(request: Request) -> Response:
    change = await wire.read(request, specs.PoolProperties)
    pool = _changeable(request)
    fields = {"start_task": change.start_task, "metadata": change.metadata}
    return _replace(request, pool, fields, status=204)


def _replace(
    request: Request, pool: Pool, fields: Mapping[str, object], *, status: int
) -> Response:
    spec = pool.spec.model_copy(update=fields)
    if spec.task_slots_per_node != pool.spec.task_slots_per_node and pool.nodes:
        raise BatchError("OperationInvalidForCurrentState", Reason="The pool has nodes")
    _check_slots(spec)
    pool.spec = spec
    return _changed(request, pool, status)


async def delete(request: Request) -> Response:
    pool = _changeable(request)
    service_of(request).allocation.delete(pool)
    return wire.empty(202)


async def resize(request: Request) -> Response:
    change = await wire.read(request, specs.Resize)
    pool = _resizable(request)
    if change.target_dedicated_nodes is None and change.target_low_priority_nodes is None:
        raise BatchError("MissingRequiredProperty", PropertyName="targetDedicatedNodes")
    service_of(request).allocation.resize(
        pool,
        dedicated=change.target_dedicated_nodes,
        spot=change.target_low_priority_nodes,
        option=change.node_deallocation_option,
    )
    return _changed(request, pool, 202)


async def stop_resize(request: Request) -> Response:
    pool = _changeable(request)
    service_of(request).allocation.stop_resize(pool)
    return _changed(request, pool, 202)


async def remove_nodes(request: Request) -> Response:
    change = await wire.read(request, specs.NodeRemoval)
    service, pool = service_of(request), _resizable(request)
    nodes = {service.registry.node(pool.id, node_id) for node_id in change.node_list}
    service.allocation.remove(pool, nodes, change.node_deallocation_option)
    return _changed(request, pool, 202)


async def enable_autoscale(request: Request) -> Response:
    change = await wire.read(request, specs.AutoScale)
    service, pool = service_of(request), _changeable(request)
    formula = change.auto_scale_formula or pool.formula
    if formula is None:
        raise BatchError("MissingRequiredProperty", PropertyName="autoScaleFormula")
    autoscale.evaluate(formula, service.allocation.scene(pool))
    # Specification: "You cannot enable automatic scaling on a Pool if a resize operation is in
    # progress on the Pool", "You cannot call this API for the same Pool more than once every 30
    # seconds."
    _check_steady(pool)
    _check_pause(pool.enabled, service.clock.now(), code="TooManyEnableAutoScaleRequests")
    pool.enabled = service.clock.now()
    default = pool.interval or pool.spec.auto_scale_evaluation_interval
    pool.interval = change.auto_scale_evaluation_interval or default
    service.allocation.scale_by(pool, formula)
    return _changed(request, pool, 200)


def _check_pause(latest: datetime | None, now: datetime, *, code: str) -> None:
    """Refuse to enable autoscale, or to evaluate a formula, again within 30 seconds."""
    if latest is not None and now - latest < FORMULA_PAUSE:
        raise BatchError(code)


async def disable_autoscale(request: Request) -> Response:
    pool = _changeable(request)
    service_of(request).allocation.stop_scaling(pool)
    return _changed(request, pool, 200)


async def evaluate_autoscale(request: Request) -> Response:
    """Return the result of a formula. An error in the formula is part of the answer."""
    formula = (await wire.read(request, specs.Formula)).auto_scale_formula
    service, pool = service_of(request), _changeable(request)
    if pool.formula is None:
        raise BatchError("OperationInvalidForCurrentState", Reason="Autoscale is not on")
    now = service.clock.now()
    # Azure.Compute.Batch, the SDK for .NET, on BatchErrorCode.TooManyRequests: "Requests for the
    # same pool must be separated by at least 30 seconds."
    _check_pause(pool.evaluated, now, code="TooManyRequests")
    pool.evaluated = now
    try:
        targets = autoscale.evaluate(formula, service.allocation.scene(pool))
    except BatchError as error:
        return wire.answer(scale_failure(error, now))
    return wire.answer(service.allocation.scale_result(pool, targets, now))


async def node_counts(request: Request) -> Response:
    view: wire.View[dict[str, object]] = {
        name: lambda counts, name=name: counts[name]  # type: ignore[misc]
        for name in ("poolId", "dedicated", "lowPriority")
    }
    counts = ((key, views.node_counts(pool)) for key, pool in _sorted_pools(service_of(request)))
    return wire.page(request, counts, view, filterable=("poolId",))


def _sorted_pools(service: Service) -> Iterator[tuple[str, Pool]]:
    yield from sorted(service.registry.pools.items())


async def supported_images(request: Request) -> Response:
    names = dict.fromkeys(name for image in images.SUPPORTED for name in image)
    view: wire.View[dict[str, object]] = {
        name: lambda image, name=name: image.get(name)  # type: ignore[misc]
        for name in names
    }
    numbered = ((f"{n:04}", image) for n, image in enumerate(images.SUPPORTED))
    return wire.page(request, numbered, view, filterable=view)


def _pool(request: Request) -> Pool:
    return service_of(request).registry.pool(request.path_params["pool"])


def _changeable(request: Request) -> Pool:
    """Return the pool if it is not being deleted and the request's conditions hold."""
    pool = _pool(request)
    wire.check_conditions(request, pool.etag, pool.modified)
    if pool.state is PoolState.DELETING:
        raise BatchError("PoolBeingDeleted")
    return pool


def _resizable(request: Request) -> Pool:
    """Return the pool if its size is set by requests and is not changing now."""
    pool = _changeable(request)
    if pool.formula is not None:
        raise BatchError("OperationInvalidForCurrentState", Reason="Autoscale is on")
    _check_steady(pool)
    return pool


def _check_steady(pool: Pool) -> None:
    if pool.allocation is not AllocationState.STEADY:
        raise BatchError("PoolBeingResized")


def _changed(request: Request, pool: Pool, status: int) -> Response:
    pool.touch(service_of(request).clock.now())
    location = f"{wire.base(request)}/pools/{pool.id}"
    return wire.empty(status, etag=pool.etag, modified=pool.modified, location=location)
