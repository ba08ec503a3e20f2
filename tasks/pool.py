"""The nodes. A pool of the run's own scales itself to zero at the deadline, whatever happens."""

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

from tasks.azure.api_errors import code_of
from tasks.azure.autoscale import (
    EVALUATION,
    NO_NODES,
    Lines,
    scale_formula,
    until_deadline,
    while_warm,
)
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.images import machine
from tasks.azure.sas import CLOCK_SKEW, make_signer
from tasks.azure.tags import WARM, check_own, put_off, read_tags, tags, warm_tags
from tasks.errors import PoolError
from tasks.media.addresses import AZURE, split_address
from tasks.models import Ticket
from tasks.naming import OWNER
from tasks.parameters import Node, Pool
from tasks.stage import stage

# apt fails now and then on a mirror's account; a node whose start task fails is lost, and billed.
FFMPEG_BY_APT = (
    "command -v ffmpeg || for pause in 5 15 30; do"
    " apt-get update && apt-get install -y --no-install-recommends ffmpeg && exit 0;"
    " sleep $pause; done; command -v ffmpeg"
)
FFMPEG_OF_IMAGE = "command -v ffmpeg"
# Where runner.sh looks first. It is tried at once: a program for another machine fails the node.
FFMPEG_OF_STORAGE = (
    'bin="$AZ_BATCH_NODE_SHARED_DIR/bin" && mkdir -p "$bin" && cp -f ffmpeg "$bin/"'
    ' && "$bin/ffmpeg" -version'
)
RENEWALS = 5  # tries to renew a warm pool that other runs renew, or that is being deleted
logger = logging.getLogger(__name__)


@stage("pool")
async def make_pool(ticket: Ticket, pool: Pool, *, files: int, node: Node = Node()) -> None:
    """Ask for the run's pool, and do not wait for it; or check that the shared one will do.

    Raises:
        PoolError: no image fits, or the shared pool is not there or does not fit.
    """
    async with batch_client() as batch:
        if pool.id:
            found = await get_shared(batch, pool.id)
            check_shared(found, pool)
            check_identity(found, pool)
            return
        spec = await describe_pool(batch, ticket, pool, node=node, files=files)
        if not ticket.owns_pool:
            await share_warm(batch, spec)
        elif not await create(batch, spec):
            # The answer to an earlier try of ours may have been lost on its way.
            found = await batch.get_pool(ticket.pool_id)
            check_own("pool", ticket.pool_id, metadata=found.metadata, ticket=ticket)
    logger.info("Asked for the pool %s", ticket.pool_id)


async def create(batch: BatchClient, spec: models.BatchPoolCreateOptions) -> bool:
    """False where there is a pool of that name."""
    try:
        await batch.create_pool(spec)
    except ResourceExistsError as error:
        if code_of(error) != "PoolExists":  # such as a quota that is reached
            raise
        return False
    return True


async def describe_pool(
    batch: BatchClient, ticket: Ticket, pool: Pool, *, node: Node, files: int
) -> models.BatchPoolCreateOptions:
    now = datetime.now(UTC)
    images = [image async for image in batch.list_supported_images()]
    last_use = ticket.deadline + timedelta(minutes=pool.keep_warm_minutes)
    return pool_spec(
        ticket,
        pool,
        node=node,
        machine=machine(node, images, now=now, until=last_use),
        start=start_task(node, ffmpeg_url=await sign_ffmpeg(node, until=last_use)),
        formula=scale_formula(demand(ticket, pool, files=files, now=now), pool, now=now),
    )


def demand(ticket: Ticket, pool: Pool, *, files: int, now: datetime) -> Lines:
    nodes = sum(nodes_wanted(pool, files))
    if pool.keep_warm_minutes:
        return while_warm(nodes, pool, now=now)
    return until_deadline(nodes, deadline=ticket.deadline)


def warm_pool_id(pool: Pool, node: Node, *, now: datetime) -> str:
    """The same for all runs that ask for the same nodes; a new one each month, as images age."""
    nodes = pool.model_dump_json(exclude={"id", "priority"}) + node.model_dump_json()
    digest = hashlib.sha256(nodes.encode()).hexdigest()[:16]
    return f"{WARM}-{now.astimezone(UTC):%Y-%m}-{digest}"


async def share_warm(batch: BatchClient, spec: models.BatchPoolCreateOptions) -> None:
    """Make the warm pool, or renew it; other runs may be doing the same, and `sweep` ends it."""
    for _ in range(RENEWALS):
        if await create(batch, spec):
            return
        with suppress(ResourceModifiedError, ResourceNotFoundError):
            await renew_warm(batch, spec)
            return
    raise PoolError(
        f"The warm pool {spec.id!r} changes all the time.",
        "Run again, or without keep_warm_minutes.",
    )


async def renew_warm(batch: BatchClient, spec: models.BatchPoolCreateOptions) -> None:
    """Give a warm pool nodes for this run too, and put off the day on which `sweep` takes it.

    Raises:
        PoolError: it is not ours, is being deleted, or its new formula does not work.
    """
    found = await batch.get_pool(spec.id)
    check_warm(found)
    formula = str(spec.auto_scale_formula)
    await check_formula(batch, spec.id, formula)
    await batch.update_pool(
        spec.id,
        models.BatchPoolUpdateOptions(
            start_task=spec.start_task,  # its signature must outlast this run
            metadata=put_off(found.metadata or [], spec.metadata or []),
        ),
        etag=found.etag,
        match_condition=MatchConditions.IfNotModified,
    )
    # With an interval, though it is the same, Batch begins a new round, and looks at once.
    scaling = models.BatchPoolEnableAutoScaleOptions(
        auto_scale_formula=formula, auto_scale_evaluation_interval=EVALUATION
    )
    await batch.enable_pool_auto_scale(spec.id, scaling)
    logger.info("Reuse the warm pool %s", spec.id)


def check_warm(found: models.BatchPool) -> None:
    values = read_tags(found.metadata)
    if values.get("owner") != OWNER or WARM not in values:
        raise PoolError(
            f"There is a pool {found.id!r} that is no warm pool of ours.",
            "Delete it, or choose other keep_warm_minutes: its name depends on them.",
        )
    if found.state != models.BatchPoolState.ACTIVE:
        raise PoolError(
            f"The warm pool {found.id!r} is just being deleted.",
            "Run again in some minutes, or without keep_warm_minutes.",
        )


async def check_formula(batch: BatchClient, pool_id: str, formula: str) -> None:
    """Let Batch evaluate a formula before it is set: a pool whose formula fails never shrinks."""
    run = await batch.evaluate_pool_auto_scale(
        pool_id, models.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
    )
    if run.error:
        reasons = "; ".join(str(value.value) for value in run.error.error_values or ())
        raise PoolError(
            f"Batch cannot evaluate the formula of the pool {pool_id!r}: {reasons}.",
            "Run without keep_warm_minutes and fallback_minutes, and tell us.",
        )


def nodes_wanted(pool: Pool, files: int) -> tuple[int, int]:
    """Spot and dedicated nodes: no more than there are files for, dedicated ones first."""
    needed = -(-files // pool.slots_per_node)
    dedicated = min(pool.dedicated_nodes, needed)
    return min(pool.spot_nodes, needed - dedicated), dedicated


def pool_spec(  # noqa: PLR0913  the parts of which it is put together
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
    """A subnet, with or without public addresses; None leaves it all to Batch."""
    if not node.subnet_id:
        return None
    addresses = models.BatchPublicIpAddressConfiguration(
        ip_address_provisioning_type=models.IpAddressProvisioningType.NO_PUBLIC_IP_ADDRESSES
    )
    return models.NetworkConfiguration(
        subnet_id=node.subnet_id,
        public_ip_address_configuration=addresses if node.public_ip == "none" else None,
    )


async def sign_ffmpeg(node: Node, *, until: datetime) -> str | None:
    """A URL that reads the program in storage, for nodes that join until then."""
    if not node.ffmpeg.startswith(AZURE):
        return None
    async with blob_service() as service:
        signer = await make_signer(service, until=until + CLOCK_SKEW)
    return signer.blob_url(*split_address(node.ffmpeg))


def start_task(node: Node, *, ffmpeg_url: str | None = None) -> models.BatchStartTask:
    scripts = {"apt": FFMPEG_BY_APT, "image": FFMPEG_OF_IMAGE}
    file = models.ResourceFile(http_url=ffmpeg_url, file_path="ffmpeg", file_mode="0755")
    return models.BatchStartTask(
        command_line=f"/bin/sh -c '{scripts.get(node.ffmpeg, FFMPEG_OF_STORAGE)}'",
        resource_files=[file] if ffmpeg_url else None,
        wait_for_success=True,
        max_task_retry_count=1,
        user_identity=models.UserIdentity(
            auto_user=models.AutoUserSpecification(
                scope=models.AutoUserScope.POOL, elevation_level=models.ElevationLevel.ADMIN
            )
        ),
    )


async def get_shared(batch: BatchClient, pool_id: str) -> models.BatchPool:
    try:
        return await batch.get_pool(pool_id)
    except ResourceNotFoundError:
        raise PoolError(
            f"There is no pool {pool_id!r}.",
            "Check pool.id, or leave it empty for a pool of the run's own.",
        ) from None


def check_identity(found: models.BatchPool, pool: Pool) -> None:
    """Refuse a shared pool that has not the identity by which nodes are to reach blobs.

    Raises:
        PoolError: it has another, or none.
    """
    given = found.identity.user_assigned_identities if found.identity else None
    names = [identity.resource_id for identity in given or ()]
    if pool.identity and pool.identity.lower() not in (name.lower() for name in names):
        raise PoolError(
            f"The shared pool {found.id!r} has not the identity {pool.identity}.",
            f"It has {' and '.join(names) or 'none'}: name that, or leave pool.identity empty.",
        )


def check_shared(found: models.BatchPool, pool: Pool) -> None:
    """Refuse a shared pool that is not what the parameters describe.

    Raises:
        PoolError: its state, VM size or slots differ.
    """
    wanted = {
        "state": ("active", getattr(found.state, "value", found.state)),
        "VM size": (pool.vm_size.lower(), (found.vm_size or "").lower()),
        "slots per node": (pool.slots_per_node, found.task_slots_per_node or 1),
    }
    for what, (expected, actual) in wanted.items():
        if expected != actual:
            raise PoolError(
                f"The shared pool {found.id!r} does not fit: {what} {actual}, not {expected}.",
                "Change the parameters to match it, or name another pool.",
            )


async def shed_nodes(batch: BatchClient, pool_id: str) -> None:
    """Let each node go once what it converts is done."""
    scaling = models.BatchPoolEnableAutoScaleOptions(
        auto_scale_formula=NO_NODES, auto_scale_evaluation_interval=EVALUATION
    )
    await batch.enable_pool_auto_scale(pool_id, scaling)
