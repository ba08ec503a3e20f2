"""Before money is spent: whether the accounts will do. It asks side by side, and makes nothing.

Permission to write and to delete is tried on what is not there: Azure authorises a request before
it looks at what it names, so "not found" means "you may", and a condition that nothing can meet
keeps even that from being made. A dry run can therefore ask all that a run asks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient

from tasks.azure.api_errors import code_of, is_transient
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.error_wording import explain
from tasks.azure.images import machine
from tasks.azure.quota import check_quota
from tasks.azure.sas import CLOCK_SKEW, LONGEST_DELEGATION, Signer, make_signer
from tasks.azure.transport import opened_transport
from tasks.errors import PoolError, PreflightError
from tasks.media.addresses import AZURE, split_address
from tasks.models import Check, Ticket
from tasks.parameters import Request
from tasks.pool import check_identity, check_shared, get_shared
from tasks.stage import stage

PAUSES_SECONDS = (0, 1, 2)  # before each try: the SDKs themselves are told not to try again
ONCE: Any = {"retry_total": 0}
ABSENT = "preflight"  # a blob, a pool and a job that nobody makes
NEVER: Any = {"etag": "0x0", "match_condition": MatchConditions.IfNotModified}
GRANTED = (404, 412)  # it is not there, or not as the condition says: but who asks may
TOLERATED_SKEW = timedelta(minutes=5)  # a third of what breaks signatures
REMEDIES = {  # where Azure's code tells more than the status
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


@stage("preflight")
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
    checks = [judge("Batch account", [images])]
    if images.error:
        checks += [unanswered("pools and jobs", "Batch"), unanswered("nodes", "Batch")]
    else:
        checks.append(judge("pools and jobs", changes))
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
            found_pool = await get_shared(batch, request.pool.id)
            check_shared(found_pool, request.pool)
            check_identity(found_pool, request.pool)
            return Check("nodes", detail=f"The pool {request.pool.id} fits.")
        found = machine(request.node, images, now=datetime.now(UTC), until=ticket.deadline)
    except PoolError as error:
        return Check("nodes", "failed", error.problem, error.remedy)
    except AzureError as error:
        return judge("nodes", [Answer(error=error)])
    return Check("nodes", detail=f"{request.pool.vm_size}, {found.node_agent_sku_id}.")


async def check_storage(service: BlobServiceClient, request: Request, ticket: Ticket) -> Asked:
    outputs, inputs = request.output.container, request.cleanup.container
    listed, deleted, signed = await asyncio.gather(
        ask(lambda: list_one(service.get_container_client(outputs))),
        ask(lambda: service.get_blob_client(inputs, ABSENT).delete_blob(**ONCE)),
        ask(lambda: make_signer(service, until=ticket.deadline + CLOCK_SKEW)),
    )
    checks = [judge("storage account", [listed])]
    answers = [listed, deleted, signed]
    if not listed.is_granted:
        rest = ("reading, writing", "deleting")
        return [*checks, *(unanswered(what, "Storage") for what in rest)], skews(answers)
    if signed.error and not request.pool.identity:
        checks.append(judge("reading, writing", [signed]))
    else:
        async with opened_transport() as transport:
            guest = Guest(signed.value, transport)
            visitor = Host(service) if request.pool.identity else guest
            tried = await asyncio.gather(*visits(visitor, request))
        answers += tried
        checks.append(judge("reading, writing", tried[:3]))
        checks += [judge_ffmpeg(answer, request) for answer in tried[3:]]
    checks.append(judge("deleting", [deleted]))
    return checks, skews(answers)


@dataclass(frozen=True, slots=True)
class Host:
    """Reads and writes as who is signed in: an identity's own roles show only on its nodes."""

    service: BlobServiceClient

    async def read(self, container: str, blob: str) -> None:
        await self.service.get_blob_client(container, blob).get_blob_properties(**ONCE)

    async def write(self, container: str) -> None:
        """Into a blob that is not there, on the condition that it is."""
        blob = self.service.get_blob_client(container, ABSENT)
        await blob.upload_blob(b"", overwrite=True, **NEVER, **ONCE)


@dataclass(frozen=True, slots=True)
class Guest:
    """Reads and writes with what the nodes will have."""

    signer: Signer
    transport: AioHttpTransport

    async def read(self, container: str, blob: str) -> None:
        url = self.signer.blob_url(container, blob)
        async with BlobClient.from_blob_url(url, transport=self.transport) as client:
            await client.get_blob_properties(**ONCE)

    async def write(self, container: str) -> None:
        url = self.signer.container_url(container)
        async with ContainerClient.from_container_url(url, transport=self.transport) as client:
            blob = client.get_blob_client(ABSENT)
            await blob.upload_blob(b"", overwrite=True, **NEVER, **ONCE)


def visits(visitor: Host | Guest, request: Request) -> Iterator[Awaitable[Answer]]:
    inputs = request.cleanup.container
    yield ask(lambda: visitor.read(inputs, ABSENT))
    yield ask(lambda: visitor.write(inputs))
    yield ask(lambda: visitor.write(request.output.container))
    if request.node.ffmpeg.startswith(AZURE) and not request.pool.id:
        place = split_address(request.node.ffmpeg)
        yield ask(lambda: visitor.read(*place))


async def list_one(container: ContainerClient) -> None:
    async for _ in container.list_blob_names(results_per_page=1, **ONCE):
        break


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


def judge(what: str, answers: Iterable[Answer]) -> Check:
    """The first answer that is a refusal decides; the remedy is by Azure's code."""
    for answer in answers:
        if answer.is_granted or answer.error is None:
            continue
        told = explain(answer.error)
        if answer.status and is_transient(answer.error):
            return Check(what, "unchecked", f"{told.problem} Azure is busy.")
        code = code_of(answer.error) if isinstance(answer.error, HttpResponseError) else None
        remedy = REMEDIES.get(code or "", told.remedy)
        return Check(what, "failed", told.problem, remedy)
    return Check(what)


def judge_ffmpeg(answer: Answer, request: Request) -> Check:
    if answer.status == 404:  # noqa: PLR2004  HTTP's NOT FOUND
        problem = f"There is no {request.node.ffmpeg}."
        return Check("ffmpeg", "failed", problem, "Upload a static build of ffmpeg there.")
    return judge("ffmpeg", [answer])


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
    if timedelta(minutes=minutes) + 2 * CLOCK_SKEW <= LONGEST_DELEGATION:
        return Check("deadline")
    return Check(
        "deadline",
        "failed",
        "The nodes' signatures would have to last for more than seven days.",
        "Choose an earlier --limits.deadline-minutes, or fewer --pool.keep-warm-minutes.",
    )
