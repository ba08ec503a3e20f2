"""Operations on nodes."""

from starlette.requests import Request
from starlette.responses import Response

from local_azure.batch import specs, views, wire
from local_azure.batch.error_codes import BatchError
from local_azure.batch.operations import service_of
from local_azure.batch.state import Node, NodeState

FILTERABLE = (
    "id",
    "state",
    "schedulingState",
    "stateTransitionTime",
    "isDedicated",
    "startTaskInfo",
    "lastBootTime",
    "allocationTime",
    "totalTasksRun",
)


async def listing(request: Request) -> Response:
    pool = service_of(request).registry.pool(request.path_params["pool"])
    view = views.node(wire.base(request))
    return wire.page(request, sorted(pool.nodes.items()), view, filterable=FILTERABLE)


async def get(request: Request) -> Response:
    view = views.node(wire.base(request))
    return wire.answer(wire.select(_node(request), view, wire.selection(request, view)))


async def reboot(request: Request) -> Response:
    option = (await wire.read(request, specs.NodeReboot)).node_reboot_option
    node = _usable(request)
    service_of(request).nodes.reboot(node, option)
    return wire.empty(202, location=str(request.url))


async def disable_scheduling(request: Request) -> Response:
    option = (await wire.read(request, specs.SchedulingDisable)).node_disable_scheduling_option
    node = _node(request)
    node.schedulable = False
    if option != "taskcompletion":
        service_of(request).nodes.end_tasks(node, option)
    return wire.empty(200)


async def enable_scheduling(request: Request) -> Response:
    _node(request).schedulable = True
    service_of(request).dispatch.wake()
    return wire.empty(200)


def _node(request: Request) -> Node:
    return service_of(request).registry.node(
        request.path_params["pool"], request.path_params["node"]
    )


def _usable(request: Request) -> Node:
    node = _node(request)
    if node.state not in {NodeState.IDLE, NodeState.RUNNING, NodeState.START_TASK_FAILED}:
        raise BatchError("OperationInvalidForCurrentState", Reason=f"The node is {node.state}")
    return node
