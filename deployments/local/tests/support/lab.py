"""A local Batch service that a thread serves, and what most of its tests do with it."""

import asyncio
import base64
import contextlib
import itertools
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import uvicorn
from azure.batch import BatchClient
from azure.batch import models as m
from azure.batch.aio import BatchClient as AsyncBatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest, HttpResponse
from azure.storage.blob import BlobServiceClient, ContainerClient, generate_container_sas
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from local_azure.batch import create_app
from local_azure.batch.routes import ROUTES

ACCOUNT = "localbatch"
KEY = base64.b64encode(b"a key that is known to these tests only").decode()
STORAGE_ACCOUNT = "localstorage"
STORAGE_KEY = base64.b64encode(b"another key that only these tests know" * 2).decode()
NODE_PATH = "/usr/local/bin:/usr/bin:/bin"
MAX_NODES = 64
TIMEOUT_SECONDS = 60.0
STOPPED = 1e-6  # as a rate of the clock: a second of it takes days
API = "api-version=2025-06-01"

_numbers = itertools.count(1)
T = TypeVar("T")


def unique(kind: str) -> str:
    """Return a name that no other test uses."""
    return f"{kind}-{next(_numbers)}"


def until(look: Callable[[], T]) -> T:
    """Return what `look` returns as soon as it is true; fail the test on timeout."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    pause = threading.Event()
    while not (seen := look()):
        assert time.monotonic() < deadline, f"timeout after {TIMEOUT_SECONDS} s"
        pause.wait(0.01)
    return seen


def shell(script: str) -> str:
    return f"/bin/sh -c {shlex.quote(script)}"


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@dataclass
class Lab:
    """A running service, a client of it, and shortcuts to pools, jobs and tasks."""

    url: str
    data: Path
    app: Any
    loop: asyncio.AbstractEventLoop
    client: BatchClient
    called: set[tuple[str, str]]
    """The operations that requests reached, as method and path of their route."""
    account: str = ACCOUNT
    key: str = KEY

    @property
    def settings(self) -> dict[str, str]:
        """The settings of programs that use the service."""
        return {
            "AZURE_BATCH_ENDPOINT": self.url,
            "AZURE_BATCH_ACCOUNT": self.account,
            "AZURE_BATCH_ACCESS_KEY": self.key,
        }

    def connect(self, *, key: str = KEY, account: str = ACCOUNT) -> BatchClient:
        return BatchClient(self.url, AzureNamedKeyCredential(account, key), retry_total=0)

    def connect_async(self) -> AsyncBatchClient:
        return AsyncBatchClient(self.url, AzureNamedKeyCredential(ACCOUNT, KEY))

    def send(self, method: str, path: str, **content: Any) -> HttpResponse:
        """Send a signed request; return an error as an answer."""
        query = "" if "api-version=" in path else f"{'&' if '?' in path else '?'}{API}"
        try:
            return self.client.send_request(HttpRequest(method, path + query, **content))
        except HttpResponseError as error:
            if error.response is None:
                raise
            return error.response

    def refused(self, method: str, path: str, **content: Any) -> tuple[int, str]:
        """Send a request, and return the status and the code of the error."""
        response = self.send(method, path, **content)
        return response.status_code, response.json()["code"]

    def pool_options(self, pool_id: str, **options: Any) -> m.BatchPoolCreateOptions:
        machine = m.VirtualMachineConfiguration(
            image_reference=m.BatchVmImageReference(
                publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
            ),
            node_agent_sku_id="batch.node.ubuntu 24.04",
        )
        given = {"vm_size": "STANDARD_D2S_V3", "virtual_machine_configuration": machine}
        return m.BatchPoolCreateOptions(id=pool_id, **(given | options))

    def pool(self, nodes: int = 1, **options: Any) -> str:
        """Create a pool of `nodes` Spot nodes, and wait until all are idle."""
        pool_id = unique("pool")
        sizes = {} if options.get("enable_auto_scale") else {"target_low_priority_nodes": nodes}
        self.client.create_pool(self.pool_options(pool_id, **(sizes | options)))
        self.nodes(pool_id, count=nodes)
        return pool_id

    def nodes(self, pool_id: str, *, count: int, state: str = "idle") -> list[m.BatchNode]:
        """Wait until the pool is steady with `count` nodes in `state`, and return them."""

        def settled() -> bool:
            nodes[:] = self.client.list_nodes(pool_id)
            steady = self.client.get_pool(pool_id).allocation_state == "steady"
            return steady and len(nodes) == count and all(node.state == state for node in nodes)

        nodes: list[m.BatchNode] = []
        until(settled)
        return nodes

    def job(self, pool_id: str, **options: Any) -> str:
        job_id = unique("job")
        info = m.BatchPoolInfo(pool_id=pool_id)
        self.client.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info, **options))
        return job_id

    def task(self, job_id: str, script: str = "true", **options: Any) -> str:
        task_id: str = options.pop("id", None) or unique("task")
        options.setdefault("command_line", shell(script))
        self.client.create_task(job_id, m.BatchTaskCreateOptions(id=task_id, **options))
        return task_id

    def state(self, job_id: str, task_id: str, state: str) -> m.BatchTask:
        """Wait until the task is in `state`, and return it."""

        def look() -> m.BatchTask | None:
            task = self.client.get_task(job_id, task_id)
            return task if task.state == state else None

        return until(look)  # type: ignore[return-value]

    def completed(self, job_id: str, task_id: str) -> m.BatchTask:
        return self.state(job_id, task_id, "completed")

    def job_state(self, job_id: str, state: str) -> m.BatchJob:
        """Wait until the job is in `state`, and return it."""

        def look() -> m.BatchJob | None:
            job = self.client.get_job(job_id)
            return job if job.state == state else None

        return until(look)  # type: ignore[return-value]

    def run(self, pool_id: str, script: str = "true", **options: Any) -> m.BatchTask:
        """Run one task in a job of its own, and return it when it is completed."""
        job_id = self.job(pool_id)
        return self.completed(job_id, self.task(job_id, script, **options))

    def output(self, task: m.BatchTask, name: str = "stdout.txt") -> str:
        job_id, task_id = str(task.url).split("/")[-3], str(task.id)
        return b"".join(self.client.download_task_file(job_id, task_id, name)).decode()

    def inside(self, act: Callable[[Any], Any]) -> Any:
        """Call `act` with the service, in the service's own event loop."""

        async def acting() -> Any:
            return act(self.app.state.service)

        return asyncio.run_coroutine_threadsafe(acting(), self.loop).result(TIMEOUT_SECONDS)


class NewLab(Protocol):
    """Serves a service of a test's own until the test ends."""

    def __call__(self, *, max_nodes: int = ...) -> Lab: ...


class FaultOrders:
    """The faults of a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def order(self, kind: str, **fields: Any) -> None:
        response = self.lab.send("POST", "/_local/faults", json={"kind": kind, **fields})
        assert response.status_code == 201, response.text()

    def clear(self) -> None:
        assert self.lab.send("DELETE", "/_local/faults").status_code == 204

    def stop_clock(self) -> None:
        """Stop the service's clock, so that nothing that it times ends before the test is ready."""
        self.order("clock", rate=STOPPED)

    def start_clock(self) -> None:
        self.order("clock", rate=1)


@dataclass(frozen=True)
class Stubborn:
    """A script that ignores SIGTERM and runs until `end`."""

    gate: Path

    @property
    def script(self) -> str:
        return f"trap '' TERM; echo on; until test -e {self.gate}; do sleep 0.02; done"

    def end(self) -> None:
        self.gate.touch()


@dataclass
class Blobs:
    """Azurite, and URLs with SAS tokens for it."""

    service: BlobServiceClient

    def container(self) -> ContainerClient:
        return self.service.create_container(unique("container"))

    def url(self, container: ContainerClient, *, permission: str, blob: str = "") -> str:
        """Return the URL of the container, or of a blob in it, with a SAS token."""
        signature = generate_container_sas(
            STORAGE_ACCOUNT,
            container.container_name,
            STORAGE_KEY,
            permission=permission,
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        place = container.get_blob_client(blob).url if blob else container.url
        return f"{place}?{signature}"


def recording(app: ASGIApp, called: set[tuple[str, str]]) -> ASGIApp:
    """Return the application, which then notes each operation that a request reaches."""

    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        for route in ROUTES:
            if "endpoint" in scope and route.matches(scope)[0] is Match.FULL:
                called.add((scope["method"], route.path))

    return recorded


@contextlib.contextmanager
def serve(data: Path, *, max_nodes: int = MAX_NODES) -> Iterator[Lab]:
    """Serve a Batch service on a free port until the block ends."""
    app = create_app(account=ACCOUNT, key=KEY, data=data, max_nodes=max_nodes, node_path=NODE_PATH)
    called: set[tuple[str, str]] = set()
    config = uvicorn.Config(
        recording(app, called),
        host="127.0.0.1",
        port=0,
        log_level="warning",
        date_header=False,
    )
    server, loops = uvicorn.Server(config), list[asyncio.AbstractEventLoop]()

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    until(lambda: server.started or not thread.is_alive())
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    credential = AzureNamedKeyCredential(ACCOUNT, KEY)
    try:
        with BatchClient(url, credential, retry_total=0) as client:
            yield Lab(url=url, data=data, app=app, loop=loops[0], client=client, called=called)
    finally:
        server.should_exit = True
        thread.join()
