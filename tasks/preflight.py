<<<<<<< HEAD
"""What is looked at before anything is made."""

from tasks.clients import batch_client


async def check_batch() -> None:
    """Ask the Batch account for next to nothing.

    Raises:
        AzureError: it cannot be reached, or refuses who asks.
    """
    async with batch_client() as batch:
        await anext(batch.list_pools(max_results=1), None)
=======
"""Before money is spent: whether the accounts will do. It asks side by side, and makes nothing.

Permission to write and to delete is tried on what is not there: Azure authorises a request before
it looks at what it names, so "not found" means "you may", and a condition that nothing can meet
keeps even that from being made. A dry run can therefore ask all that a run asks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient
from prefect import task

from tasks.clients import (
    CLOCK_SKEW,
    TIMEOUTS,
    Signer,
    batch_client,
    blob_service,
    code_of,
    explained,
    is_transient,
    make_signer,
)
from tasks.errors import PoolError, PreflightError
from tasks.images import machine
from tasks.models import Check, Ticket
from tasks.parameters import Request
from tasks.pool import check_shared, get_shared
from tasks.quota import check_quota
from tasks.sources import AZURE, split_address
from tasks.stage import STAGE

PAUSES_SECONDS = (0, 1, 2)  # before each try: the SDKs themselves are told not to try again
ONCE: Any = {"retry_total": 0}
ABSENT = "preflight"  # a blob, a pool and a job that nobody makes
NEVER: Any = {"etag": "0x0", "match_condition": MatchConditions.IfNotModified}
GRANTED = (404, 412)  # it is not there, or not as the condition says: but who asks may
LONGEST_SIGNATURE = timedelta(days=7)  # that a user-delegation key can give
TOLERATED_SKEW = timedelta(minutes=5)  # a third of what breaks signatures
BATCH_REMEDIES = {
    "AuthorizationFailure": "Give who is signed in the role Azure Batch Data Contributor on the"
    " Batch account.",
}
STORAGE_REMEDIES = {
    "AuthorizationFailure": "Let this network through the storage account's firewall, and check"
    " the key.",
    "AuthorizationPermissionMismatch": "Give who is signed in the role Storage Blob Data"
    " Contributor on the storage account.",
    "KeyBasedAuthenticationNotPermitted": "The storage account takes no keys: leave the key out and"
    " sign in.",
    "ContainerBeingDeleted": "Wait a minute, or choose another container.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request: a value or an error, and how far apart the clocks are."""

    value: Any = None
    error: AzureError | None = None
    skew: timedelta | None = None  # positive where Azure's clock is ahead of this one

    @property
    def status(self) -> int | None:
        return self.error.status_code if isinstance(self.error, HttpResponseError) else None

    @property
    def is_granted(self) -> bool:
        return self.error is None or self.status in GRANTED


@task(name="preflight", task_run_name="preflight", **STAGE)
async def preflight(request: Request, ticket: Ticket) -> tuple[Check, ...]:
    """Every check, whatever the others say. In a dry run those that fail are only told.

    Raises:
        PreflightError: some failed; it has a line for each.
    """
    async with batch_client() as batch, blob_service() as service:
        asked = await asyncio.gather(
            check_batch(batch, request, ticket),
            check_storage(service, request, ticket),
            check_quota(request.pool),
        )
    (of_batch, batch_skews), (of_storage, storage_skews), quota = asked
    checks = (
        *of_batch,
        *of_storage,
        judge_clock([*batch_skews, *storage_skews]),
        judge_deadline(request),
        quota,
    )
    if not request.run.dry_run:
        refuse(checks)
    return checks


def refuse(checks: Sequence[Check]) -> None:
    failed = [check for check in checks if check.state == "failed"]
    if failed:
        raise PreflightError(
            f"{len(failed)} of {len(checks)} checks failed:\n{in_lines(failed)}",
            "Nothing was made, and nothing costs anything.",
        )


def in_lines(checks: Iterable[Check]) -> str:
    return "\n".join(f"  {c.what:<18}{c.detail} {c.remedy}".rstrip() for c in checks)


Asked = tuple[list[Check], list[timedelta]]


async def check_batch(batch: BatchClient, request: Request, ticket: Ticket) -> Asked:
    async def list_images() -> list[models.BatchSupportedImage]:
        return [image async for image in batch.list_supported_images(**ONCE)]

    images, *changes = await asyncio.gather(
        ask(list_images),
        ask(lambda: batch.update_pool(ABSENT, models.BatchPoolUpdateOptions(metadata=[]), **ONCE)),
        ask(lambda: batch.update_job(ABSENT, models.BatchJobUpdateOptions(metadata=[]), **ONCE)),
    )
    checks = [judge("Batch account", [images], remedies=BATCH_REMEDIES)]
    if images.error:
        checks += [unanswered("pools and jobs", "Batch"), unanswered("nodes", "Batch")]
    else:
        checks.append(judge("pools and jobs", changes, remedies=BATCH_REMEDIES))
        checks.append(await check_nodes(batch, images.value, request, ticket))
    return checks, skews([images, *changes])


async def check_nodes(
    batch: BatchClient,
    images: Sequence[models.BatchSupportedImage],
    request: Request,
    ticket: Ticket,
) -> Check:
    """The shared pool, or the image of a pool that is yet to be made."""
    try:
        if request.pool.id:
            check_shared(await get_shared(batch, request.pool.id), request.pool)
            return Check("nodes", detail=f"The pool {request.pool.id} fits.")
        found = machine(request.node, images, now=datetime.now(UTC), until=ticket.deadline)
    except PoolError as error:
        return Check("nodes", "failed", error.problem, error.remedy)
    except AzureError as error:
        return judge("nodes", [Answer(error=error)], remedies=BATCH_REMEDIES)
    return Check("nodes", detail=f"{request.pool.vm_size}, {found.node_agent_sku_id}.")


async def check_storage(service: BlobServiceClient, request: Request, ticket: Ticket) -> Asked:
    outputs, inputs = request.output.container, request.cleanup.container
    listed, deleted, signed = await asyncio.gather(
        ask(lambda: list_one(service.get_container_client(outputs))),
        ask(lambda: service.get_blob_client(inputs, ABSENT).delete_blob(**ONCE)),
        ask(lambda: make_signer(service, until=min(ticket.deadline + CLOCK_SKEW, latest()))),
    )
    checks = [judge("storage account", [listed], remedies=STORAGE_REMEDIES)]
    answers = [listed, deleted, signed]
    if listed.error and not listed.is_granted:
        return [*checks, *(unanswered(what, "Storage") for what in ("signatures", "deleting"))], []
    if signed.error:
        checks.append(judge("signatures", [signed], remedies=STORAGE_REMEDIES))
    else:
        tried = await asyncio.gather(*try_signatures(signed.value, request))
        answers += tried
        checks.append(judge("signatures", tried[:3], remedies=STORAGE_REMEDIES))
        checks += [judge_ffmpeg(answer, request) for answer in tried[3:]]
    checks.append(judge("deleting", [deleted], remedies=STORAGE_REMEDIES))
    return checks, skews(answers)


def latest() -> datetime:
    """Beyond it no signature may last; that the deadline is too far off is another check's."""
    return datetime.now(UTC) + LONGEST_SIGNATURE


def try_signatures(signer: Signer, request: Request) -> Iterator[Awaitable[Answer]]:
    """Read and write with what the nodes will have."""
    inputs = request.cleanup.container
    yield ask(lambda: read(signer.blob_url(inputs, ABSENT)))
    yield ask(lambda: write(signer.container_url(inputs)))
    yield ask(lambda: write(signer.container_url(request.output.container)))
    if request.node.ffmpeg.startswith(AZURE) and not request.pool.id:
        place = split_address(request.node.ffmpeg)
        yield ask(lambda: read(signer.blob_url(*place)))


async def list_one(container: ContainerClient) -> None:
    async for _ in container.list_blob_names(results_per_page=1, **ONCE):
        break


async def read(url: str) -> None:
    async with BlobClient.from_blob_url(url, **TIMEOUTS) as blob:
        await blob.get_blob_properties(**ONCE)


async def write(url: str) -> None:
    """Into a blob that is not there, on the condition that it is."""
    async with AsyncExitStack() as stack:
        container = ContainerClient.from_container_url(url, **TIMEOUTS)
        await stack.enter_async_context(container)
        await container.get_blob_client(ABSENT).upload_blob(b"", overwrite=True, **NEVER, **ONCE)


async def ask(request: Callable[[], Awaitable[Any]]) -> Answer:
    """Try a few times what may succeed a little later."""
    answer = Answer()
    for pause_seconds in PAUSES_SECONDS:
        await asyncio.sleep(pause_seconds)
        answer = await ask_once(request)
        if not answer.error or not is_transient(answer.error):
            break
    return answer


async def ask_once(request: Callable[[], Awaitable[Any]]) -> Answer:
    asked_at = datetime.now(UTC)
    try:
        return Answer(await request())
    except AzureError as error:
        response = getattr(error, "response", None)
        date = response.headers.get("Date") if response is not None else None
        return Answer(error=error, skew=skew(date, asked_at=asked_at, now=datetime.now(UTC)))


def skew(date: str | None, *, asked_at: datetime, now: datetime) -> timedelta | None:
    """How far a server's clock is ahead of this one, by its answer: to the second or so."""
    if not date:
        return None
    return parsedate_to_datetime(date).astimezone(UTC) - (asked_at + (now - asked_at) / 2)


def skews(answers: Iterable[Answer]) -> list[timedelta]:
    return [answer.skew for answer in answers if answer.skew is not None]


def unanswered(what: str, service: str) -> Check:
    return Check(what, "unchecked", f"{service} does not answer.")


def judge(what: str, answers: Iterable[Answer], *, remedies: Mapping[str, str]) -> Check:
    """The first answer that is a refusal decides; the remedy is by Azure's code."""
    for answer in answers:
        if answer.is_granted or answer.error is None:
            continue
        told = explained(answer.error)
        if answer.status and is_transient(answer.error):
            return Check(what, "unchecked", f"{told.problem} Azure is busy.")
        code = code_of(answer.error) if isinstance(answer.error, HttpResponseError) else None
        remedy = remedies.get(code or "", told.remedy)
        return Check(what, "failed", told.problem, remedy)
    return Check(what)


def judge_ffmpeg(answer: Answer, request: Request) -> Check:
    if answer.status == 404:  # noqa: PLR2004  HTTP's NOT FOUND
        problem = f"There is no {request.node.ffmpeg}."
        return Check("ffmpeg", "failed", problem, "Upload a static build of ffmpeg there.")
    return judge("ffmpeg", [answer], remedies=STORAGE_REMEDIES)


def judge_clock(found: Iterable[timedelta]) -> Check:
    """Signatures and the pool's formula are of this machine's time, and judged by Azure's."""
    worst = max(found, key=abs, default=None)
    if worst is None:
        return Check("clock", "unchecked", "No answer bore a time.")
    if abs(worst) <= TOLERATED_SKEW:
        return Check("clock")
    minutes = round(abs(worst) / timedelta(minutes=1))
    side = "behind" if worst > timedelta() else "ahead of"
    return Check(
        "clock",
        "failed",
        f"This machine's clock is {minutes} minutes {side} Azure's.",
        "Set it right, by NTP for instance.",
    )


def judge_deadline(request: Request) -> Check:
    """What nodes read and write by must outlast the run, and a warm pool's nodes."""
    minutes = request.limits.deadline_minutes + request.pool.keep_warm_minutes
    if timedelta(minutes=minutes) + 2 * CLOCK_SKEW <= LONGEST_SIGNATURE:
        return Check("deadline")
    return Check(
        "deadline",
        "failed",
        "The nodes' signatures would have to last for more than seven days.",
        "Choose an earlier --limits.deadline-minutes, or fewer --pool.keep-warm-minutes.",
    )
>>>>>>> 478702d (Check the accounts before anything is made, all at once, and estimate node hours in a dry run)
