"""The supported operations."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local_azure.batch.operations import (
    empty_requests,
    fault_requests,
    file_requests,
    job_requests,
    node_requests,
    pool_requests,
    task_requests,
)

Endpoint = Callable[[Request], Awaitable[Response]]

POOL = "/pools/{pool}"
NODE = POOL + "/nodes/{node}"
JOB = "/jobs/{job}"
TASK = JOB + "/tasks/{task}"

OPERATIONS: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/supportedimages", pool_requests.supported_images),
    ("GET", "/nodecounts", pool_requests.node_counts),
    ("POST", "/pools", pool_requests.add),
    ("GET", "/pools", pool_requests.listing),
    ("GET", POOL, pool_requests.get),
    ("HEAD", POOL, pool_requests.exists),
    ("PATCH", POOL, pool_requests.update),
    ("DELETE", POOL, pool_requests.delete),
    ("POST", POOL + "/updateproperties", pool_requests.replace_properties),
    ("POST", POOL + "/resize", pool_requests.resize),
    ("POST", POOL + "/stopresize", pool_requests.stop_resize),
    ("POST", POOL + "/removenodes", pool_requests.remove_nodes),
    ("POST", POOL + "/enableautoscale", pool_requests.enable_autoscale),
    ("POST", POOL + "/disableautoscale", pool_requests.disable_autoscale),
    ("POST", POOL + "/evaluateautoscale", pool_requests.evaluate_autoscale),
    ("GET", POOL + "/nodes", node_requests.listing),
    ("GET", NODE, node_requests.get),
    ("POST", NODE + "/reboot", node_requests.reboot),
    ("POST", NODE + "/disablescheduling", node_requests.disable_scheduling),
    ("POST", NODE + "/enablescheduling", node_requests.enable_scheduling),
    ("GET", NODE + "/files", file_requests.listing),
    ("GET", NODE + "/files/{file:path}", file_requests.get),
    ("HEAD", NODE + "/files/{file:path}", file_requests.head),
    ("DELETE", NODE + "/files/{file:path}", file_requests.delete),
    ("POST", "/jobs", job_requests.add),
    ("GET", "/jobs", job_requests.listing),
    ("GET", JOB, job_requests.get),
    ("PATCH", JOB, job_requests.update),
    ("PUT", JOB, job_requests.replace),
    ("DELETE", JOB, job_requests.delete),
    ("POST", JOB + "/disable", job_requests.disable),
    ("POST", JOB + "/enable", job_requests.enable),
    ("POST", JOB + "/terminate", job_requests.terminate),
    ("GET", JOB + "/taskcounts", job_requests.task_counts),
    ("POST", JOB + "/addtaskcollection", task_requests.add_collection),
    ("POST", JOB + "/tasks", task_requests.add),
    ("GET", JOB + "/tasks", task_requests.listing),
    ("GET", TASK, task_requests.get),
    ("PUT", TASK, task_requests.replace),
    ("DELETE", TASK, task_requests.delete),
    ("POST", TASK + "/terminate", task_requests.terminate),
    ("POST", TASK + "/reactivate", task_requests.reactivate),
    ("GET", TASK + "/files", file_requests.listing),
    ("GET", TASK + "/files/{file:path}", file_requests.get),
    ("HEAD", TASK + "/files/{file:path}", file_requests.head),
    ("DELETE", TASK + "/files/{file:path}", file_requests.delete),
)


def route(method: str, path: str, endpoint: Endpoint) -> Route:
    made = Route(path, endpoint, methods=[method])
    made.methods = {method}  # Starlette adds HEAD to every GET
    return made


SCHEDULES = "/jobschedules"
EMPTY: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/poolusagemetrics", empty_requests.usage),
    ("GET", "/applications", empty_requests.applications),
    ("GET", "/applications/{application}", empty_requests.application),
    ("GET", "/certificates", empty_requests.certificates),
    ("GET", SCHEDULES, empty_requests.schedules),
    ("GET", SCHEDULES + "/{schedule}", empty_requests.schedule),
    ("HEAD", SCHEDULES + "/{schedule}", empty_requests.schedule),
    ("GET", SCHEDULES + "/{schedule}/jobs", empty_requests.schedule),
)
LOCAL: tuple[tuple[str, str, Endpoint], ...] = (
    ("POST", "/_local/faults", fault_requests.order),
    ("GET", "/_local/faults", fault_requests.listing),
    ("DELETE", "/_local/faults", fault_requests.clear),
)
ROUTES = [route(*operation) for operation in (*OPERATIONS, *EMPTY, *LOCAL)]
