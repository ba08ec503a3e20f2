"""A bench for single questions to a Batch service: one pool of one node that all share."""

import asyncio
import importlib.util
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, ContainerClient

from tasks.azure.api_errors import code_of
from tasks.azure.autoscale import EVALUATION
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.sas import Signer, make_signer
from tasks.containers import make_containers
from tasks.models import Ticket
from tasks.parameters import Cleanup, Pool
from tasks.pool import make_pool

QUESTIONS = Path(__file__).with_name("questions")
TIMEOUT = timedelta(minutes=20)  # a node takes some minutes to boot, and the questions a few more
SLOWEST_POLL_SECONDS = 2.0
CONDITIONS = models.OutputFileUploadCondition
T = TypeVar("T")


class NoNodeError(Exception):
    """The pool cannot get its node."""


@dataclass(frozen=True)
class Question:
    """A file of questions/: its docstring asks, `ask` gets the answer, `WANTED` is what we need."""

    name: str
    module: ModuleType

    @property
    def text(self) -> str:
        return (self.module.__doc__ or "").strip().partition("\n")[0]

    @property
    def wanted(self) -> str:
        return str(self.module.WANTED)


@dataclass
class Bench:
    """A Batch service and a folder of blobs, with the helpers that questions use."""

    batch: BatchClient
    container: ContainerClient
    folder: str  # contains all blobs; the names below are relative to it
    signer: Signer
    pool_id: str
    shared_job: str  # for most questions: a new account may have only twenty jobs at a time
    created_jobs: list[str] = field(default_factory=list)
    created_pools: list[str] = field(default_factory=list)

    def fresh(self, kind: str) -> str:
        return f"{kind}-{uuid.uuid4().hex[:12]}"

    @property
    def write_url(self) -> str:
        """The container's URL with a SAS token that only permits writing, as nodes get for logs."""
        return self.signer.container_url(self.container_name)

    def upload_url(self, name: str) -> str:
        """Return the container's URL with a token for one blob, as nodes get it for an output."""
        return self.signer.upload_url(self.container_name, f"{self.folder}/{name}")

    @property
    def container_name(self) -> str:
        return str(self.container.container_name)

    def blob(self, name: str) -> BlobClient:
        return self.container.get_blob_client(f"{self.folder}/{name}")

    async def job(self, **fields: Any) -> str:
        name = fields.pop("id", None) or self.fresh("job")
        self.created_jobs.append(name)
        info = models.BatchPoolInfo(pool_id=self.pool_id)
        await self.batch.create_job(models.BatchJobCreateOptions(id=name, pool_info=info, **fields))
        return name

    async def resource(self, content: str, *, path: str, name: str = "") -> models.ResourceFile:
        """Upload a blob that the node downloads to `path` in its working folder."""
        name = name or self.fresh("resource")
        blob = self.blob(name)
        await blob.upload_blob(content.encode(), overwrite=True)
        url = self.signer.blob_url(self.container_name, str(blob.blob_name))
        return models.ResourceFile(http_url=url, file_path=path)

    def output(
        self,
        pattern: str,
        *,
        path: str,
        when: CONDITIONS = CONDITIONS.TASK_COMPLETION,
        headers: dict[str, str] | None = None,
        url: str = "",
    ) -> models.OutputFile:
        given = [models.OutputFileUploadHeader(name=n, value=v) for n, v in (headers or {}).items()]
        to = models.OutputFileBlobContainerDestination(
            container_url=url or self.write_url,
            path=f"{self.folder}/{path}",
            upload_headers=given or None,
        )
        return models.OutputFile(
            file_pattern=pattern,
            destination=models.OutputFileDestination(container=to),
            upload_options=models.OutputFileUploadConfiguration(upload_condition=when),
        )

    async def add(self, script: str = "true", *, job: str = "", **fields: Any) -> tuple[str, str]:
        """Add a batch task that runs a script from a resource file, as the pipeline does.

        Returns:
            The ids of the job and of the batch task.
        """
        job = job or self.shared_job
        name = self.fresh("task")
        if "command_line" not in fields:
            fields["command_line"] = "/bin/sh script.sh"
            more = fields.pop("resource_files", [])
            fields["resource_files"] = [await self.resource(script, path="script.sh"), *more]
        options = models.BatchTaskCreateOptions(id=name, **fields)
        await self.batch.create_task(job, options)
        return job, name

    async def run(self, script: str = "true", **fields: Any) -> models.BatchTask:
        """Add a batch task like `add`, and return it once it is completed."""
        return await self.reached(*await self.add(script, **fields), state="completed")

    async def reached(self, job: str, name: str, *, state: str) -> models.BatchTask:
        async def look() -> models.BatchTask | None:
            batch_task = await self.batch.get_task(job, name)
            return batch_task if batch_task.state == state else None

        return await self.until(look)

    async def until(self, look: Callable[[], Awaitable[T | None]]) -> T:
        """Call `look` until it returns a value other than None."""
        pause = 0.02
        while (found := await look()) is None:
            await asyncio.sleep(pause)
            if pause == SLOWEST_POLL_SECONDS:
                await self._check_pool()
            pause = min(2 * pause, SLOWEST_POLL_SECONDS)
        return found

    async def _check_pool(self) -> None:
        pool = await self.batch.get_pool(self.pool_id)
        codes = [error.code for error in pool.resize_errors or ()]
        if codes and not (pool.current_dedicated_nodes or pool.current_low_priority_nodes):
            raise NoNodeError(f"no node: {', '.join(map(str, codes))}")

    async def stdout(self, batch_task: models.BatchTask) -> str:
        job = str(batch_task.url).rstrip("/").split("/")[-3]
        stream = await self.batch.download_task_file(job, str(batch_task.id), "stdout.txt")
        return b"".join([chunk async for chunk in stream]).decode()

    async def evaluate(self, formula: str) -> str:
        """Return the node targets that a formula sets, or its error code. Nothing changes."""
        run = await self.evaluated(await self.empty_pool(), formula)
        if run.error:
            return str(run.error.code)
        return " ".join(sorted(each for each in run.results.split(";") if "$Target" in each))

    async def empty_pool(self) -> str:
        """Create a pool without nodes. Batch accepts one change per 30 seconds of a pool."""
        ticket = issue_ticket("questions", TIMEOUT)
        self.created_pools.append(ticket.pool_id)
        await make_pool.fn(ticket, Pool(slots_per_node=2), files=0)
        return ticket.pool_id

    async def evaluated(self, pool_id: str, formula: str) -> models.AutoScaleRun:
        options = models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
        return await self.batch.evaluate_pool_auto_scale(pool_id, options)

    async def enable(self, pool_id: str, formula: str) -> None:
        """Set a pool's formula, with the interval that the pipeline always uses."""
        options = models.BatchPoolEnableAutoScaleOptions(
            auto_scale_formula=formula, auto_scale_evaluation_interval=EVALUATION
        )
        await self.batch.enable_pool_auto_scale(pool_id, options)

    async def scaled(self, pool_id: str, *, after: datetime) -> models.BatchPool:
        """Return a pool once Batch has evaluated its formula by its schedule after a time."""

        async def look() -> models.BatchPool | None:
            pool = await self.batch.get_pool(pool_id)
            run = pool.auto_scale_run
            return pool if run and run.timestamp > after else None

        return await self.until(look)

    async def sizes(self, folder: str) -> dict[str, int]:
        """Return the sizes of a folder's blobs in bytes, by their names within the folder."""
        start = f"{self.folder}/{folder}/"
        listing = self.container.list_blobs(start)
        return {blob.name.removeprefix(start): blob.size async for blob in listing}


def batch_result(batch_task: models.BatchTask) -> str:
    """Describe the batch task's result in one line."""
    info = batch_task.execution_info
    assert info is not None
    if info.failure_info is None:
        return "success"
    return f"{info.failure_info.code}, exit code {info.exit_code}"


async def refusal(request: Awaitable[object]) -> str:
    """Return the service's answer to a request: `accepted`, or status and error code."""
    try:
        await request
    except HttpResponseError as error:
        return f"{error.status_code} {code_of(error)}"
    return "accepted"


def load_questions(names: Iterable[str] = ()) -> list[Question]:
    """Load the questions with these names, or all questions."""
    wanted = set(names)
    paths = sorted(QUESTIONS.glob("*.py"))
    return [
        Question(path.stem, load_module(path))
        for path in paths
        if not wanted or path.stem in wanted
    ]


def load_module(path: Path) -> ModuleType:
    """Load a module that is not in a package."""
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def ask(questions: Sequence[Question], pool: Pool) -> dict[str, str]:
    """Ask the configured account all questions in parallel, and return the answers by name.

    The pool is created as a run creates it. Its formula removes the node after `TIMEOUT`, even if
    this process is killed. The pool, jobs and blobs are deleted at the end.
    """
    async with open_bench(pool) as bench:
        answers = await asyncio.gather(*(_answer(question, bench) for question in questions))
    return {question.name: answer for question, answer in zip(questions, answers, strict=True)}


async def _answer(question: Question, bench: Bench) -> str:
    try:
        async with asyncio.timeout(TIMEOUT.total_seconds()):
            return str(await question.module.ask(bench))
    except HttpResponseError as error:
        return f"refused: {error.status_code} {code_of(error)}"
    except TimeoutError:
        return "no answer before the timeout"
    except NoNodeError as error:
        return str(error)


@asynccontextmanager
async def open_bench(pool: Pool) -> AsyncIterator[Bench]:
    """Create the bench, and delete everything that it created when the block ends."""
    ticket = issue_ticket("questions", TIMEOUT)
    name = Cleanup().container  # the user of the pipeline may write to it
    await make_containers.fn(name)
    async with batch_client() as batch, blob_service() as service:
        signer = await make_signer(service, until=ticket.deadline)
        container = service.get_container_client(name)
        bench = Bench(batch, container, ticket.lock_id, signer, ticket.pool_id, ticket.job_id)
        try:
            await make_pool.fn(ticket, pool, files=1)
            await bench.job(id=ticket.job_id)
            yield bench
        finally:
            await asyncio.shield(_clear(bench))


def issue_ticket(prefix: str, timeout: timedelta) -> Ticket:
    """Return the names for a pool and a job, which `sweep` finds by their tags."""
    now, run_id = datetime.now(UTC), uuid.uuid4().hex
    return Ticket(
        run_id=run_id,
        lock_id=run_id[:16],
        output_container="output",
        job_id=f"{prefix}-{run_id}",
        pool_id=f"{prefix}-{run_id}",
        owns_pool=True,
        started_at=now,
        deadline=now + timeout,
    )


async def _clear(bench: Bench) -> None:
    for pool_id in (bench.pool_id, *bench.created_pools):
        await _delete(f"pool {pool_id}", bench.batch.begin_delete_pool(pool_id))
    await _delete(f"folder {bench.folder}", _delete_folder(bench))
    for job in bench.created_jobs:
        await _delete(f"job {job}", bench.batch.begin_delete_job(job))


async def _delete_folder(bench: Bench) -> None:
    """Delete all blobs of the folder. Its name is unique, and some blobs do not have our tag."""
    async for name in bench.container.list_blob_names(name_starts_with=f"{bench.folder}/"):
        await bench.container.delete_blob(name)


async def _delete(what: str, deletion: Awaitable[object]) -> None:
    try:
        await deletion
    except ResourceNotFoundError:  # it was never created
        pass
    except AzureError as error:
        if not (isinstance(error, HttpResponseError) and error.status_code == HTTPStatus.CONFLICT):
            print(f"Deleting the {what} failed. Delete it by hand: {error}", file=sys.stderr)
