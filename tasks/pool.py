"""The pool of nodes. A run's own pool scales itself to zero after its files, whatever happens."""

import hashlib
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core import MatchConditions
from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from tasks.azure.api_errors import has_code
from tasks.azure.autoscale import (
    EVALUATION,
    Lines,
    next_minute,
    scale_formula,
    until_deadline,
    while_warm,
)
from tasks.azure.clients import batch_client
from tasks.azure.explanations import explanation
from tasks.azure.images import vm_configuration
from tasks.azure.scaling import set_formula, when_accepted
from tasks.azure.tags import WARM, check_own, read_tags, tags, warm_tags, with_latest_expiry
from tasks.errors import PoolError
from tasks.models import Ticket
from tasks.naming import OWNER
from tasks.parameters import Node, Pool
from tasks.stage import stage
from tasks.start_task import sign_ffmpeg, start_task

RENEWALS = 5  # attempts to renew a warm pool that other runs are changing
logger = logging.getLogger(__name__)


@stage("pool")
async def make_pool(ticket: Ticket, pool: Pool, *, files: int, node: Node = Node()) -> None:
    """Create the run's pool without waiting for its nodes, or check the shared pool.

    Raises:
        PoolError: No image fits, or the shared pool does not exist or does not match.
    """
    async with batch_client() as batch:
        if pool.id:
            found = await get_shared(batch, pool.id)
            check_shared(found, pool)
            check_identity(found, pool)
            return
        spec = await describe_pool(batch, ticket, pool, node=node, files=files)
        if not ticket.owns_pool:
            await create_or_renew_warm(batch, spec)
        elif not await create_unless_exists(batch, spec):
            # An earlier request may have succeeded although its response was lost.
            found = await batch.get_pool(ticket.pool_id)
            check_own("pool", ticket.pool_id, metadata=found.metadata, ticket=ticket)
    logger.info("Requested the pool %s", ticket.pool_id)


async def shared_slots(pool_id: str) -> int:
    async with batch_client() as batch:
        return slots_of(await get_shared(batch, pool_id))


def slots_of(found: models.BatchPool) -> int:
    return found.task_slots_per_node or 1


async def create_unless_exists(batch: BatchClient, spec: models.BatchPoolCreateOptions) -> bool:
    """Create a pool. Return whether it did not exist yet."""
    try:
        await batch.create_pool(spec)
    except ResourceExistsError as error:
        if not has_code(error, "PoolExists"):  # for example, a quota is reached
            raise
        return False
    return True


async def describe_pool(
    batch: BatchClient, ticket: Ticket, pool: Pool, *, node: Node, files: int
) -> models.BatchPoolCreateOptions:
    now = next_minute(datetime.now(UTC))
    images = [image async for image in batch.list_supported_images()]
    last_use = ticket.deadline + timedelta(minutes=pool.keep_warm_minutes)
    return pool_spec(
        ticket,
        pool,
        node=node,
        machine=vm_configuration(node, images, now=now, until=last_use),
        start=start_task(node, ffmpeg_url=await sign_ffmpeg(node, until=last_use)),
        formula=scale_formula(demand(ticket, pool, files=files, now=now), pool, now=now),
    )


def demand(ticket: Ticket, pool: Pool, *, files: int, now: datetime) -> Lines:
    nodes = sum(nodes_wanted(pool, files))
    if pool.keep_warm_minutes:
        return while_warm(nodes, pool, now=now)
    return until_deadline(nodes, pool, deadline=ticket.deadline, now=now)


def warm_pool_id(pool: Pool, node: Node, *, now: datetime) -> str:
    """Return the id for all runs that need the same nodes. It changes monthly, for new images."""
    nodes = pool.model_dump_json(exclude={"id", "priority"}) + node.model_dump_json()
    digest = hashlib.sha256(nodes.encode()).hexdigest()[:16]
    return f"{WARM}-{now.astimezone(UTC):%Y-%m}-{digest}"


async def create_or_renew_warm(batch: BatchClient, spec: models.BatchPoolCreateOptions) -> None:
    """Create or renew the warm pool. Other runs and `sweep` may change it at the same time."""
    for _ in range(RENEWALS):
        if await create_unless_exists(batch, spec):
            return
        with suppress(ResourceModifiedError, ResourceNotFoundError):
            await renew_warm(batch, spec)
            return
    raise PoolError(
        f"The warm pool {spec.id!r} could not be renewed: other runs kept changing it.",
        "Run again, or run without --pool.keep-warm-minutes.",
    )


async def renew_warm(batch: BatchClient, spec: models.BatchPoolCreateOptions) -> None:
    """Give a warm pool nodes for this run too, and postpone its expiry.

    Raises:
        PoolError: It is not a warm pool, is being deleted, or its new formula does not work.
    """
    found = await batch.get_pool(spec.id)
    check_warm(found)
    await batch.update_pool(
        spec.id,
        models.BatchPoolUpdateOptions(
            start_task=spec.start_task,  # its SAS token must outlast this run
            metadata=with_latest_expiry(found.metadata or [], spec.metadata or []),
        ),
        etag=found.etag,
        match_condition=MatchConditions.IfNotModified,
    )
    formula = str(spec.auto_scale_formula)
    if formula != found.auto_scale_formula:
        await check_formula(batch, spec.id, formula)
        await set_formula(batch, spec.id, formula)
    logger.info("Reusing the warm pool %s", spec.id)


def check_warm(found: models.BatchPool) -> None:
    values = read_tags(found.metadata)
    if values.get("owner") != OWNER or WARM not in values:
        raise PoolError(
            f"The pool {found.id!r} exists already, and it is not a warm pool of this project.",
            "Delete it, or change --pool.keep-warm-minutes, which changes the pool's name.",
        )
    if found.state != models.BatchPoolState.ACTIVE:
        raise PoolError(
            f"The warm pool {found.id!r} is being deleted.",
            "Run again in some minutes, or run without --pool.keep-warm-minutes.",
        )


async def check_formula(batch: BatchClient, pool_id: str, formula: str) -> None:
    """Let Batch evaluate a formula before it is set: a pool with a broken one never shrinks."""
    options = models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
    run = await when_accepted(
        lambda: batch.evaluate_pool_auto_scale(pool_id, options), pool_id=pool_id
    )
    if run.error:
        raise PoolError(
            f"Batch cannot evaluate the formula of the pool {pool_id!r}: {explanation(run.error)}.",
            "Run without --pool.keep-warm-minutes and --pool.fallback-minutes, and report this.",
        )


def nodes_wanted(pool: Pool, files: int) -> tuple[int, int]:
    """Return the Spot and dedicated nodes: dedicated ones first, and no more than files need."""
    needed = -(-files // pool.slots_per_node)
    dedicated = min(pool.dedicated_nodes, needed)
    return min(pool.spot_nodes, needed - dedicated), dedicated


def pool_spec(  # noqa: PLR0913  the parts of a pool
    ticket: Ticket,
    pool: Pool,
    *,
    node: Node,
    machine: models.VirtualMachineConfiguration,
    start: models.BatchStartTask,
    formula: str,
) -> models.BatchPoolCreateOptions:
    return models.BatchPoolCreateOptions(
        id=ticket.pool_id,
        vm_size=pool.vm_size,
        virtual_machine_configuration=machine,
        enable_auto_scale=True,
        auto_scale_formula=formula,
        auto_scale_evaluation_interval=EVALUATION,
        task_slots_per_node=pool.slots_per_node,
        task_scheduling_policy=models.BatchTaskSchedulingPolicy(
            node_fill_type=models.BatchNodeFillType(node.fill)
        ),
        start_task=start,
        network_configuration=network(node),
        metadata=tags(ticket) if ticket.owns_pool else warm_tags(ticket, pool),
    )


def network(node: Node) -> models.NetworkConfiguration | None:
    """Return the subnet and whether nodes have public addresses. None: Batch decides."""
    if not node.subnet_id:
        return None
    addresses = models.BatchPublicIpAddressConfiguration(
        ip_address_provisioning_type=models.IpAddressProvisioningType.NO_PUBLIC_IP_ADDRESSES
    )
    return models.NetworkConfiguration(
        subnet_id=node.subnet_id,
        public_ip_address_configuration=addresses if node.public_ip == "none" else None,
    )


async def get_shared(batch: BatchClient, pool_id: str) -> models.BatchPool:
    try:
        return await batch.get_pool(pool_id)
    except ResourceNotFoundError:
        raise PoolError(
            f"The pool {pool_id!r} does not exist.",
            "Check --pool.id, or leave it empty to create a pool for the run.",
        ) from None


def check_identity(found: models.BatchPool, pool: Pool) -> None:
    """Check that a shared pool has the identity by which its nodes reach blobs.

    Raises:
        PoolError: It has another identity or none.
    """
    assigned = found.identity.user_assigned_identities if found.identity else None
    names = [identity.resource_id for identity in assigned or ()]
    if pool.identity and pool.identity.lower() not in (name.lower() for name in names):
        raise PoolError(
            f"The shared pool {found.id!r} does not have the identity {pool.identity}.",
            f"Set pool.identity to one of: {', '.join(names)}, or leave it empty."
            if names
            else "The pool has no identity: leave pool.identity empty.",
        )


def check_shared(found: models.BatchPool, pool: Pool) -> None:
    """Check that a shared pool matches the parameters. Without a number of slots, any number does.

    Raises:
        PoolError: Its state, VM size or slots differ.
    """
    required = {
        "state": ("active", getattr(found.state, "value", found.state)),
        "VM size": (pool.vm_size.lower(), (found.vm_size or "").lower()),
        "slots per node": (pool.slots_per_node or slots_of(found), slots_of(found)),
    }
    for name, (expected, actual) in required.items():
        if expected != actual:
            raise PoolError(
                f"The shared pool {found.id!r} does not match the parameters: its {name} is"
                f" {actual}, not {expected}.",
                "Change the parameters, or name another pool.",
            )
