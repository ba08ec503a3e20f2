"""The list of routes is the list of supported operations."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local_azure.batch.operations import files, jobs, local, nodes, pools, tasks

Endpoint = Callable[[Request], Awaitable[Response]]

POOL = "/pools/{pool}"
NODE = POOL + "/nodes/{node}"
JOB = "/jobs/{job}"
TASK = JOB + "/tasks/{task}"

OPERATIONS: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/supportedimages", pools.supported_images),
    ("GET", "/nodecounts", pools.node_counts),
    ("POST", "/pools", pools.add),
    ("GET", "/pools", pools.listing),
    ("GET", POOL, pools.get),
    ("HEAD", POOL, pools.exists),
    ("PATCH", POOL, pools.update),
    ("DELETE", POOL, pools.delete),
    ("POST", POOL + "/updateproperties", pools.replace_properties),
    ("POST", POOL + "/resize", pools.resize),
    ("POST", POOL + "/stopresize", pools.stop_resize),
    ("POST", POOL + "/removenodes", pools.remove_nodes),
    ("POST", POOL + "/enableautoscale", pools.enable_autoscale),
    ("POST", POOL + "/disableautoscale", pools.disable_autoscale),
    ("POST", POOL + "/evaluateautoscale", pools.evaluate_autoscale),
    ("GET", POOL + "/nodes", nodes.listing),
    ("GET", NODE, nodes.get),
    ("POST", NODE + "/reboot", nodes.reboot),
    ("POST", NODE + "/disablescheduling", nodes.disable_scheduling),
    ("POST", NODE + "/enablescheduling", nodes.enable_scheduling),
    ("GET", NODE + "/files", files.listing),
    ("GET", NODE + "/files/{file:path}", files.get),
    ("HEAD", NODE + "/files/{file:path}", files.head),
    ("DELETE", NODE + "/files/{file:path}", files.delete),
    ("POST", "/jobs", jobs.add),
    ("GET", "/jobs", jobs.listing),
    ("GET", JOB, jobs.get),
    ("PATCH", JOB, jobs.update),
    ("PUT", JOB, jobs.replace),
    ("DELETE", JOB, jobs.delete),
    ("POST", JOB + "/disable", jobs.disable),
    ("POST", JOB + "/enable", jobs.enable),
    ("POST", JOB + "/terminate", jobs.terminate),
    ("GET", JOB + "/taskcounts", jobs.task_counts),
    ("POST", JOB + "/addtaskcollection", tasks.add_collection),
    ("POST", JOB + "/tasks", tasks.add),
    ("GET", JOB + "/tasks", tasks.listing),
    ("GET", TASK, tasks.get),
    ("PUT", TASK, tasks.replace),
    ("DELETE", TASK, tasks.delete),
    ("POST", TASK + "/terminate", tasks.terminate),
    ("POST", TASK + "/reactivate", tasks.reactivate),
    ("GET", TASK + "/files", files.listing),
    ("GET", TASK + "/files/{file:path}", files.get),
    ("HEAD", TASK + "/files/{file:path}", files.head),
    ("DELETE", TASK + "/files/{file:path}", files.delete),
)


def route(method: str, path: str, endpoint: Endpoint) -> Route:
    made = Route(path, endpoint, methods=[method])
    made.methods = {method}  # Starlette would answer HEAD wherever it answers GET
    return made


LOCAL: tuple[tuple[str, str, Endpoint], ...] = (
    ("POST", "/_local/faults", local.order),
    ("GET", "/_local/faults", local.listing),
    ("DELETE", "/_local/faults", local.clear),
)
ROUTES = [route(*operation) for operation in (*OPERATIONS, *LOCAL)]
