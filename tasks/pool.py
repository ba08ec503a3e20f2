"""The nodes. A pool of the run's own scales itself to zero at the deadline, whatever happens."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from prefect import task

from tasks.clients import batch_client, code_of
from tasks.errors import PoolError
from tasks.models import Ticket
from tasks.naming import OWNER
from tasks.parameters import Pool
from tasks.stage import STAGE

EVALUATION = timedelta(minutes=5)  # the least that Batch allows
IMAGE_MARGIN = timedelta(days=30)  # an image that close to its end is not taken
# apt fails now and then on a mirror's account; a node whose start task fails is lost, and billed.
INSTALL_FFMPEG = (
    "command -v ffmpeg || for pause in 5 15 30; do"
    " apt-get update && apt-get install -y --no-install-recommends ffmpeg && exit 0;"
    " sleep $pause; done; command -v ffmpeg"
)
logger = logging.getLogger(__name__)


@task(name="pool", **STAGE)
async def make_pool(ticket: Ticket, pool: Pool, *, files: int) -> None:
    """Ask for the run's own pool, and do not wait for it; or check that the shared one will do.

    Raises:
        PoolError: no image fits, or the shared pool is not there or does not fit.
    """
    async with batch_client() as batch:
        if not ticket.owns_pool:
            check_shared(await _get_shared(batch, pool.id), pool)
            return
        images = [image async for image in batch.list_supported_images()]
        image = choose_image(images, now=datetime.now(UTC), until=ticket.deadline)
        spec = pool_spec(ticket, pool, image=image, files=files)
        try:
            await batch.create_pool(spec)
        except ResourceExistsError as error:
            if code_of(error) != "PoolExists":  # such as a quota that is reached
                raise
            # The answer to an earlier try of ours may have been lost on its way.
            found = await batch.get_pool(ticket.pool_id)
            check_own("pool", ticket.pool_id, metadata=found.metadata, ticket=ticket)
    logger.info("Asked for the pool %s", ticket.pool_id)


def nodes_wanted(pool: Pool, files: int) -> tuple[int, int]:
    """Spot and dedicated nodes: no more than there are files for, dedicated ones first."""
    needed = -(-files // pool.slots_per_node)
    dedicated = min(pool.dedicated_nodes, needed)
    return min(pool.spot_nodes, needed - dedicated), dedicated


def deadline_formula(*, spot: int, dedicated: int, deadline: datetime) -> str:
    """Nodes at once, and none after the deadline: Batch evaluates it without us."""
    until = f'time() < time("{deadline.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")'
    return (
        f"$TargetLowPriorityNodes = {until} ? {spot} : 0;\n"
        f"$TargetDedicatedNodes = {until} ? {dedicated} : 0;\n"
        "$NodeDeallocationOption = taskcompletion;"
    )


def choose_image(
    images: Iterable[models.BatchSupportedImage], *, now: datetime, until: datetime
) -> models.BatchSupportedImage:
    """The newest Ubuntu LTS that Batch has verified and that does not near its end.

    Raises:
        PoolError: there is none.
    """
    last_day = max(now + IMAGE_MARGIN, until)
    fitting = [
        image
        for image in images
        if image.os_type == models.OSType.LINUX
        and image.verification_type == models.ImageVerificationType.VERIFIED
        and "ubuntu" in image.node_agent_sku_id
        and (image.image_reference.sku or "").endswith(("lts", "server", "lts-gen2"))
        and not (image.batch_support_end_of_life and image.batch_support_end_of_life < last_day)
    ]
    if not fitting:
        raise PoolError(
            "Azure Batch offers no verified Ubuntu image in this region.",
            "Make a pool with an image of your own and name it by pool.id.",
        )
    return max(fitting, key=lambda image: image.node_agent_sku_id)


def pool_spec(
    ticket: Ticket, pool: Pool, *, image: models.BatchSupportedImage, files: int
) -> models.BatchPoolCreateOptions:
    spot, dedicated = nodes_wanted(pool, files)
    return models.BatchPoolCreateOptions(
        id=ticket.pool_id,
        vm_size=pool.vm_size,
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=image.image_reference, node_agent_sku_id=image.node_agent_sku_id
        ),
        enable_auto_scale=True,
        auto_scale_formula=deadline_formula(
            spot=spot, dedicated=dedicated, deadline=ticket.deadline
        ),
        auto_scale_evaluation_interval=EVALUATION,
        task_slots_per_node=pool.slots_per_node,
        task_scheduling_policy=models.BatchTaskSchedulingPolicy(
            node_fill_type=models.BatchNodeFillType.SPREAD
        ),
        start_task=start_task(),
        metadata=tags(ticket),
    )


def start_task() -> models.BatchStartTask:
    return models.BatchStartTask(
        command_line=f"/bin/sh -c '{INSTALL_FFMPEG}'",
        wait_for_success=True,
        max_task_retry_count=1,
        user_identity=models.UserIdentity(
            auto_user=models.AutoUserSpecification(
                scope=models.AutoUserScope.POOL, elevation_level=models.ElevationLevel.ADMIN
            )
        ),
    )


def tags(ticket: Ticket) -> list[models.BatchMetadataItem]:
    """By these, `sweep` and the next run know what is ours, whose, and when it is stale."""
    values = {
        "owner": OWNER,
        "run": ticket.run_id,
        "lock": ticket.lock_id,
        "expires_at": ticket.deadline.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return [models.BatchMetadataItem(name=name, value=value) for name, value in values.items()]


def check_own(
    kind: str,
    name: str,
    *,
    metadata: Iterable[models.BatchMetadataItem] | None,
    ticket: Ticket,
) -> None:
    """Make sure that what bears our run's name was made by our run.

    Raises:
        PoolError: somebody else made it.
    """
    if {item.name: item.value for item in metadata or ()}.get("run") != ticket.run_id:
        raise PoolError(
            f"There is a {kind} {name!r} that this run did not make.",
            "Run again: the next run has another name.",
        )


async def _get_shared(batch: BatchClient, pool_id: str) -> models.BatchPool:
    try:
        return await batch.get_pool(pool_id)
    except ResourceNotFoundError:
        raise PoolError(
            f"There is no pool {pool_id!r}.",
            "Check pool.id, or leave it empty for a pool of the run's own.",
        ) from None


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
