"""A service that is really served, and the real clients to speak to it."""

import asyncio
import base64
import contextlib
import itertools
import os
import shlex
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
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

from local_azure.azurite import running_azurite
from local_azure.batch import create_app
from local_azure.batch.routes import ROUTES

ACCOUNT = "localbatch"
KEY = base64.b64encode(b"a key that is known to these tests only").decode()
STORAGE_ACCOUNT = "localstorage"
STORAGE_KEY = base64.b64encode(b"another key that only these tests know" * 2).decode()
NODE_PATH = "/usr/local/bin:/usr/bin:/bin"
MAX_NODES = 64
PATIENCE_SECONDS = 20.0
API = "api-version=2025-06-01"

_numbers = itertools.count(1)


def fresh(kind: str) -> str:
    return f"{kind}-{next(_numbers)}"


T = TypeVar("T")


def until(look: Callable[[], T]) -> T:
    """What `look` returns once it is true; the test fails if that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not (seen := look()):
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.01)
    return seen


def shell(script: str) -> str:
    return f"/bin/sh -c {shlex.quote(script)}"


@dataclass
class Lab:
    """A running service, a client of it, and the few things that most tests make."""

    url: str
    data: Path
    app: Any
    loop: asyncio.AbstractEventLoop
    client: BatchClient
    called: set[tuple[str, str]]
    """The operations that were asked for, as method and path of their route."""
    account: str = ACCOUNT
    key: str = KEY

    def shell(self, script: str) -> str:
        return shell(script)

    def connect(self, *, key: str = KEY, account: str = ACCOUNT) -> BatchClient:
        return BatchClient(self.url, AzureNamedKeyCredential(account, key), retry_total=0)

    def connect_async(self) -> AsyncBatchClient:
        return AsyncBatchClient(self.url, AzureNamedKeyCredential(ACCOUNT, KEY))

    def send(self, method: str, path: str, **content: Any) -> HttpResponse:
        """A signed request of the test's own making; an error is an answer like any other."""
        query = "" if "api-version=" in path else f"{'&' if '?' in path else '?'}{API}"
        try:
            return self.client.send_request(HttpRequest(method, path + query, **content))
        except HttpResponseError as error:
            if error.response is None:
                raise
            return error.response

    def refused(self, method: str, path: str, **content: Any) -> tuple[int, str]:
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
        """A pool with so many Spot nodes, all idle when it is returned."""
        pool_id = fresh("pool")
        sizes = {} if options.get("enable_auto_scale") else {"target_low_priority_nodes": nodes}
        self.client.create_pool(self.pool_options(pool_id, **(sizes | options)))
        self.nodes(pool_id, count=nodes)
        return pool_id

    def nodes(self, pool_id: str, *, count: int, state: str = "idle") -> list[m.BatchNode]:
        def settled() -> bool:
            nodes[:] = self.client.list_nodes(pool_id)
            steady = self.client.get_pool(pool_id).allocation_state == "steady"
            return steady and len(nodes) == count and all(node.state == state for node in nodes)

        nodes: list[m.BatchNode] = []
        until(settled)
        return nodes

    def job(self, pool_id: str, **options: Any) -> str:
        job_id = fresh("job")
        info = m.BatchPoolInfo(pool_id=pool_id)
        self.client.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info, **options))
        return job_id

    def task(self, job_id: str, script: str = "true", **options: Any) -> str:
        task_id = options.pop("id", None) or fresh("task")
        options.setdefault("command_line", shell(script))
        self.client.create_task(job_id, m.BatchTaskCreateOptions(id=task_id, **options))
        return task_id

    def state(self, job_id: str, task_id: str, state: str) -> m.BatchTask:
        """The task, once it has come to this state."""

        def look() -> m.BatchTask | None:
            task = self.client.get_task(job_id, task_id)
            return task if task.state == state else None

        return until(look)  # type: ignore[return-value]

    def completed(self, job_id: str, task_id: str) -> m.BatchTask:
        return self.state(job_id, task_id, "completed")

    def job_state(self, job_id: str, state: str) -> m.BatchJob:
        def look() -> m.BatchJob | None:
            job = self.client.get_job(job_id)
            return job if job.state == state else None

        return until(look)  # type: ignore[return-value]

    def run(self, pool_id: str, script: str = "true", **options: Any) -> m.BatchTask:
        """One task in a job of its own, completed."""
        job_id = self.job(pool_id)
        return self.completed(job_id, self.task(job_id, script, **options))

    def output(self, task: m.BatchTask, name: str = "stdout.txt") -> str:
        job_id, task_id = str(task.url).split("/")[-3], str(task.id)
        return b"".join(self.client.download_task_file(job_id, task_id, name)).decode()

    def alive(self, pid: int) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return True
        return False

    def inside(self, act: Callable[[Any], Any]) -> Any:
        """Acts on the service within its own loop, where the wire cannot reach."""

        async def acting() -> Any:
            return act(self.app.state.service)

        return asyncio.run_coroutine_threadsafe(acting(), self.loop).result(PATIENCE_SECONDS)


def recording(app: ASGIApp, called: set[tuple[str, str]]) -> ASGIApp:
    """The application, which notes each operation that a request reaches."""

    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        for route in ROUTES:
            if "endpoint" in scope and route.matches(scope)[0] is Match.FULL:
                called.add((scope["method"], route.path))

    return recorded


@contextlib.contextmanager
def serve(data: Path, *, max_nodes: int = MAX_NODES) -> Iterator[Lab]:
    app = create_app(account=ACCOUNT, key=KEY, data=data, max_nodes=max_nodes, node_path=NODE_PATH)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    called: set[tuple[str, str]] = set()
    config = uvicorn.Config(
        recording(app, called),
        host="127.0.0.1",
        port=port,
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
    url = f"http://127.0.0.1:{port}"
    credential = AzureNamedKeyCredential(ACCOUNT, KEY)
    try:
        with BatchClient(url, credential, retry_total=0) as client:
            yield Lab(url=url, data=data, app=app, loop=loops[0], client=client, called=called)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def session_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with serve(tmp_path_factory.mktemp("nodes")) as lab:
        yield lab


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """The service that all tests share; what a test leaves in it is deleted."""
    yield session_lab
    for job in list(session_lab.client.list_jobs()):
        with contextlib.suppress(HttpResponseError):
            session_lab.client.begin_delete_job(str(job.id), polling_interval=0).wait()
    for pool in list(session_lab.client.list_pools()):
        with contextlib.suppress(HttpResponseError):
            session_lab.client.begin_delete_pool(str(pool.id), polling_interval=0).wait()


@pytest.fixture
def pool(lab: Lab) -> str:
    """One idle node with two slots."""
    return lab.pool(task_slots_per_node=2)


class Faulty:
    """The lab, with its faults, which are taken back after the test."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def order(self, kind: str, **details: Any) -> None:
        response = self.lab.send("POST", "/_local/faults", json={"kind": kind, **details})
        assert response.status_code == 201, response.text()

    def clear(self) -> None:
        assert self.lab.send("DELETE", "/_local/faults").status_code == 204


@pytest.fixture
def faults(lab: Lab) -> Iterator[Faulty]:
    faulty = Faulty(lab)
    yield faulty
    faulty.clear()


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Services of a test's own, for what would disturb others."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(serve(tmp_path / fresh("lab"), **options))


@pytest.fixture
async def async_batch(lab: Lab) -> AsyncIterator[AsyncBatchClient]:
    async with lab.connect_async() as client:
        yield client


@dataclass
class Blobs:
    """Azurite, and URLs with signatures for it."""

    service: BlobServiceClient

    def container(self) -> ContainerClient:
        return self.service.create_container(fresh("container"))

    def url(self, container: ContainerClient, *, permission: str, blob: str = "") -> str:
        signature = generate_container_sas(
            STORAGE_ACCOUNT,
            container.container_name,
            STORAGE_KEY,
            permission=permission,
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        place = container.get_blob_client(blob).url if blob else container.url
        return f"{place}?{signature}"


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blobs]:
    folder = tmp_path_factory.mktemp("azurite")
    with running_azurite(
        account=STORAGE_ACCOUNT,
        key=STORAGE_KEY,
        port=0,
        location=folder / "blobs",
        log=folder / "azurite.log",
    ) as azurite:
        credential = AzureNamedKeyCredential(STORAGE_ACCOUNT, STORAGE_KEY)
        url = f"{azurite.wait()}/{STORAGE_ACCOUNT}"
        with BlobServiceClient(url, credential=credential) as service:
            yield Blobs(service)


@pytest.fixture(name="until")
def _until() -> Callable[[Callable[[], T]], T]:
    return until


@pytest.fixture(name="shell")
def _shell() -> Callable[[str], str]:
    return shell


@pytest.fixture(name="serve")
def _serve() -> Callable[..., contextlib.AbstractContextManager[Lab]]:
    return serve
