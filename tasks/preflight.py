"""The check of the accounts before a run costs money. It sends requests but creates nothing.

Permissions to write and delete are checked with names that do not exist. Azure authorizes a request
before it looks up the name, so "not found" means that the permission is there. A condition that no
blob can meet prevents writes. So a dry run makes the same checks as a run.
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

from tasks.azure.api_errors import PERMISSION_MISMATCH, code_of, is_transient, lacks_role
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.error_wording import explain
from tasks.azure.explanations import of_code
from tasks.azure.images import is_tested, vm_configuration
from tasks.azure.quota import check_quota
from tasks.azure.sas import CLOCK_SKEW, LONGEST_DELEGATION, Signer, make_signer
from tasks.azure.transport import open_transport
from tasks.errors import PoolError, PreflightError
from tasks.media.addresses import AZURE, split_address
from tasks.models import Check, Ticket
from tasks.naming import log_container
from tasks.parameters import Request
from tasks.pool import check_identity, check_shared, get_shared
from tasks.role_wait import MissingRole, wait_for_roles
from tasks.stage import stage

PAUSES_SECONDS = (0, 1, 2)  # before each attempt; they replace the SDKs' own retries
ONCE: Any = {"retry_total": 0}
ABSENT = "preflight"  # the name of a blob, a pool and a job that do not exist
NEVER: Any = {"etag": "0x0", "match_condition": MatchConditions.IfNotModified}
GRANTED = (404, 412)  # not found, or the condition is not met: the request is authorized
NODES = "nodes"  # the check of the shared pool, or of the image of the run's own pool
TOLERATED_SKEW = timedelta(minutes=5)  # a third of the skew that invalidates signatures
REMEDIES = {  # for codes that say more than their status
    PERMISSION_MISMATCH: "Assign the role 'Storage Blob Data Contributor' on the"
    " storage account to the signed-in identity.",
    "KeyBasedAuthenticationNotPermitted": "The storage account does not accept keys: remove the key"
    " from the settings and sign in.",
    "ContainerBeingDeleted": "Wait a minute, or choose another container.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The value or the error of one request, and the difference of the clocks."""

    value: Any = None
    error: AzureError | None = None
    skew: timedelta | None = None  # positive if Azure's clock is ahead

    @property
    def status(self) -> int | None:
        return self.error.status_code if isinstance(self.error, HttpResponseError) else None

    @property
    def is_granted(self) -> bool:
        return self.error is None or self.status in GRANTED


@stage("preflight")
async def preflight(request: Request, ticket: Ticket) -> tuple[Check, ...]:
    """Make all checks, even if some of them fail. Wait for roles that may be new.

    Raises:
        PreflightError: Some checks failed. A dry run only returns them.
    """
    wait = timedelta(minutes=request.limits.role_wait_minutes)
    until = min(datetime.now(UTC) + wait, ticket.deadline)
    checks = await wait_for_roles(lambda: make_checks(request, ticket), until=until)
    if not request.run.dry_run:
        raise_failed(checks)
    return checks


async def make_checks(request: Request, ticket: Ticket) -> tuple[Check, ...]:
    async with batch_client() as batch, blob_service() as service:
        (of_batch, batch_skews), (of_storage, storage_skews), quota = await asyncio.gather(
            check_batch(batch, request, ticket),
            check_storage(service, request, ticket),
            check_quota(request.pool),
        )
    return (
        *of_batch,
        *of_storage,
        check_clock([*batch_skews, *storage_skews]),
        check_deadline(request),
        quota,
    )


def raise_failed(checks: Sequence[Check]) -> None:
    failed = [check for check in checks if check.state == "failed"]
    if failed:
        raise PreflightError(
            f"{len(failed)} of {len(checks)} checks failed:\n{format_checks(failed)}",
            "Nothing was created, so nothing costs money.",
        )


def format_checks(checks: Iterable[Check]) -> str:
    return "\n".join(f"  {c.what:<18}{c.detail} {c.remedy}".rstrip() for c in checks)


ChecksAndSkews = tuple[list[Check], list[timedelta]]


async def check_batch(batch: BatchClient, request: Request, ticket: Ticket) -> ChecksAndSkews:
    async def list_images() -> list[models.BatchSupportedImage]:
        return [image async for image in batch.list_supported_images(**ONCE)]

    images, *changes = await asyncio.gather(
        send(list_images),
        send(lambda: batch.update_pool(ABSENT, models.BatchPoolUpdateOptions(metadata=[]), **ONCE)),
        send(lambda: batch.update_job(ABSENT, models.BatchJobUpdateOptions(metadata=[]), **ONCE)),
    )
    checks = [check_answers("Batch account", [images])]
    if images.error:
        checks += [unchecked("pools and jobs", "Batch"), unchecked(NODES, "Batch")]
    else:
        checks.append(check_answers("pools and jobs", changes))
        checks.append(await check_nodes(batch, images.value, request, ticket))
    return checks, skews([images, *changes])


async def check_nodes(
    batch: BatchClient,
    images: Sequence[models.BatchSupportedImage],
    request: Request,
    ticket: Ticket,
) -> Check:
    """Check the shared pool, or the image of the pool that the run will create."""
    try:
        if request.pool.id:
            found_pool = await get_shared(batch, request.pool.id)
            check_shared(found_pool, request.pool)
            check_identity(found_pool, request.pool)
            return Check(NODES, detail=f"The pool {request.pool.id} matches the parameters.")
        found = vm_configuration(request.node, images, now=datetime.now(UTC), until=ticket.deadline)
    except PoolError as error:
        return Check(NODES, "failed", error.problem, error.remedy)
    except AzureError as error:
        return check_answers(NODES, [Answer(error=error)])
    is_known = request.node.has_own_image or is_tested(found, request.node.family)
    remark = "" if is_known else " This project has not been tested with this release."
    return Check(NODES, detail=f"{request.pool.vm_size}, {found.node_agent_sku_id}.{remark}")


async def check_storage(
    service: BlobServiceClient, request: Request, ticket: Ticket
) -> ChecksAndSkews:
    outputs, inputs = request.output.container, request.cleanup.container
    logs = log_container(inputs)
    listed, *deleted, signed = await asyncio.gather(
        send(lambda: list_one(service.get_container_client(outputs))),
        send(lambda: service.get_blob_client(inputs, ABSENT).delete_blob(**ONCE)),
        send(lambda: service.get_blob_client(logs, ABSENT).delete_blob(**ONCE)),
        send(lambda: service.get_blob_client(outputs, ABSENT).delete_blob(**ONCE)),  # the lock
        send(lambda: make_signer(service, until=ticket.deadline + CLOCK_SKEW)),
    )
    checks = [check_answers("storage account", [listed])]
    answers = [listed, *deleted, signed]
    if not listed.is_granted:
        rest = ("reading, writing", "deleting")
        return [*checks, *(unchecked(what, "Storage") for what in rest)], skews(answers)
    if signed.error:
        checks.append(check_answers("reading, writing", [signed]))
    else:
        async with open_transport() as transport:
            by_token = TokenAccess(signed.value, transport)
            reader = AccountReader(service) if request.pool.identity else by_token
            tried = await asyncio.gather(*try_access(reader, by_token, request))
        answers += tried
        checks.append(check_answers("reading, writing", tried[:3]))
        checks += [check_ffmpeg(answer, request) for answer in tried[3:]]
    checks.append(check_answers("deleting", deleted))
    return checks, skews(answers)


@dataclass(frozen=True, slots=True)
class AccountReader:
    """Reads with the run's own credential. A managed identity works only on nodes."""

    service: BlobServiceClient

    async def read(self, container: str, blob: str) -> None:
        await self.service.get_blob_client(container, blob).get_blob_properties(**ONCE)


@dataclass(frozen=True, slots=True)
class TokenAccess:
    """Reads and writes with SAS tokens, as the nodes will."""

    signer: Signer
    transport: AioHttpTransport

    async def read(self, container: str, blob: str) -> None:
        url = self.signer.blob_url(container, blob)
        async with BlobClient.from_blob_url(url, transport=self.transport) as client:
            await client.get_blob_properties(**ONCE)

    async def write(self, url: str) -> None:
        """Write to a blob that does not exist, on the condition that it exists."""
        async with ContainerClient.from_container_url(url, transport=self.transport) as client:
            blob = client.get_blob_client(ABSENT)
            await blob.upload_blob(b"", overwrite=True, **NEVER, **ONCE)


def try_access(
    reader: AccountReader | TokenAccess, by_token: TokenAccess, request: Request
) -> Iterator[Awaitable[Answer]]:
    inputs, signer = request.cleanup.container, by_token.signer
    logs_url = signer.container_url(log_container(inputs))
    output_url = signer.upload_url(request.output.container, ABSENT)
    yield send(lambda: reader.read(inputs, ABSENT))
    yield send(lambda: by_token.write(logs_url))
    yield send(lambda: by_token.write(output_url))
    if request.node.ffmpeg.startswith(AZURE) and not request.pool.id:
        container, blob = split_address(request.node.ffmpeg)
        yield send(lambda: reader.read(container, blob))


async def list_one(container: ContainerClient) -> None:
    async for _ in container.list_blob_names(results_per_page=1, **ONCE):
        break


async def send(request: Callable[[], Awaitable[Any]]) -> Answer:
    """Send a request. Retry transient errors a few times."""
    answer = Answer()
    for pause_seconds in PAUSES_SECONDS:
        await asyncio.sleep(pause_seconds)
        answer = await send_once(request)
        if not answer.error or not is_transient(answer.error):
            break
    return answer


async def send_once(request: Callable[[], Awaitable[Any]]) -> Answer:
    sent_at = datetime.now(UTC)
    try:
        return Answer(await request())
    except AzureError as error:
        response = getattr(error, "response", None)
        date = response.headers.get("Date") if response is not None else None
        return Answer(error=error, skew=skew(date, sent_at=sent_at, now=datetime.now(UTC)))


def skew(date: str | None, *, sent_at: datetime, now: datetime) -> timedelta | None:
    """Return how far the server's clock is ahead. The header counts in whole seconds."""
    if not date:
        return None
    return parsedate_to_datetime(date).astimezone(UTC) - (sent_at + (now - sent_at) / 2)


def skews(answers: Iterable[Answer]) -> list[timedelta]:
    return [answer.skew for answer in answers if answer.skew is not None]


def unchecked(what: str, service: str) -> Check:
    return Check(what, "unchecked", f"{service} does not respond.")


def check_answers(what: str, answers: Iterable[Answer]) -> Check:
    """Return the check that the first refusal decides, with the remedy for Azure's code."""
    for answer in answers:
        if answer.is_granted or answer.error is None:
            continue
        explained = explain(answer.error)
        if answer.status and is_transient(answer.error):
            return Check(what, "unchecked", f"{explained.problem} Azure is busy.")
        code = code_of(answer.error) if isinstance(answer.error, HttpResponseError) else None
        remedy = of_code(REMEDIES, code) or explained.remedy
        kind = MissingRole if lacks_role(answer.error) else Check
        return kind(what, "failed", explained.problem, remedy)
    return Check(what)


def check_ffmpeg(answer: Answer, request: Request) -> Check:
    if answer.status == 404:  # noqa: PLR2004  HTTP's NOT FOUND
        problem = f"The blob {request.node.ffmpeg} does not exist."
        return Check("ffmpeg", "failed", problem, "Upload a static build of ffmpeg to it.")
    return check_answers("ffmpeg", [answer])


def check_clock(found: Iterable[timedelta]) -> Check:
    """Check the clock: Azure compares times in SAS tokens and formulas with its own clock."""
    worst = max(found, key=abs, default=None)
    if worst is None:
        return Check("clock", "unchecked", "No response had a date.")
    if abs(worst) <= TOLERATED_SKEW:
        return Check("clock")
    minutes = round(abs(worst) / timedelta(minutes=1))
    side = "behind" if worst > timedelta() else "ahead of"
    return Check(
        "clock",
        "failed",
        f"This machine's clock is {minutes} minutes {side} Azure's.",
        "Correct the clock, for example with NTP.",
    )


def check_deadline(request: Request) -> Check:
    """Check that SAS tokens can outlast the run and the nodes of a warm pool."""
    minutes = request.limits.deadline_minutes + request.pool.keep_warm_minutes
    if timedelta(minutes=minutes) + 2 * CLOCK_SKEW <= LONGEST_DELEGATION:
        return Check("deadline")
    return Check(
        "deadline",
        "failed",
        "The nodes' SAS tokens would have to be valid for more than seven days.",
        "Lower --limits.deadline-minutes or --pool.keep-warm-minutes.",
    )
