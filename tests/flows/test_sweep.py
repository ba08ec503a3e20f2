"""The sweep flow after killed runs, on the local stack."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from azure.batch import BatchClient, models
from azure.storage.blob import BlobServiceClient
from records import a_pool, a_ticket

from flows.sweep import sweep
from tasks.containers import make_containers
from tasks.job import make_job
from tasks.leftovers import Leftover
from tasks.models import Ticket
from tasks.naming import OWN, input_blob, lock_blob, log_container, log_folder, record_blob
from tasks.parameters import Cleanup, Node, Request
from tasks.pool import make_pool, warm_pool_id

Killed = Callable[..., Ticket]


@pytest.fixture
def killed(
    account: dict[str, str], blobs: BlobServiceClient, containers: tuple[str, str]
) -> Callable[..., object]:
    """Return a function that creates what a run leaves if it is killed while it converts."""
    assert account
    outputs, inputs = (blobs.create_container(name) for name in containers)

    async def leave(*, expired: bool = True, is_old: bool = False) -> Ticket:
        now = datetime.now(UTC)
        name = f"convert-1-{uuid.uuid4().hex}"
        deadline = now + timedelta(minutes=-5 if expired else 5)
        ticket = Ticket(
            run_id=uuid.uuid4().hex,
            lock_id=uuid.uuid4().hex[:16],
            output_container=containers[0],
            job_id=name,
            pool_id=name,
            owns_pool=True,
            started_at=now,
            deadline=deadline,
        )
        request = Request(sources=["a.mp4"], cleanup=Cleanup(container=containers[1]))
        await make_pool.fn(ticket, a_pool(), files=1)
        await make_job.fn(ticket, request)
        inputs.upload_blob(input_blob(ticket.lock_id, "0" * 64), b"media", metadata=OWN)
        tags = OWN | {"job": name, "expires_at": deadline.isoformat()}
        if not is_old:
            outputs.upload_blob(lock_blob(ticket.lock_id), b"", metadata=tags)
            logs = log_container(containers[1])
            await make_containers.fn(logs)
            name = f"{log_folder(ticket.lock_id, ticket.run_id)}k-1/stderr.txt"
            blobs.get_blob_client(logs, name).upload_blob(b"log", metadata=OWN)
            tags |= {"output": containers[0]}
        inputs.upload_blob(record_blob(ticket.lock_id), b"", metadata=tags)
        return ticket

    return leave


def kinds_of(ticket: Ticket, leftovers: tuple[Leftover, ...]) -> set[str]:
    return {leftover.kind for leftover in leftovers if leftover.lock_id == ticket.lock_id}


def remaining(batch: BatchClient) -> set[str]:
    pools = {pool.id for pool in batch.list_pools() if pool.state != models.BatchPoolState.DELETING}
    return pools | {
        job.id for job in batch.list_jobs() if job.state != models.BatchJobState.DELETING
    }


async def test_a_dry_run_lists_everything_that_a_killed_run_left_and_deletes_nothing(
    killed: Killed, batch: BatchClient, containers: tuple[str, str]
) -> None:
    ticket = await killed()
    assert kinds_of(ticket, await sweep(container=containers[1])) == {"pool", "job", "uploads"}
    assert kinds_of(ticket, await sweep(container=containers[1])) == {"pool", "job", "uploads"}
    assert ticket.pool_id in remaining(batch)


@pytest.mark.accounts("key", "entra")
@pytest.mark.parametrize("is_old", [False, True], ids=["this version", "earlier version"])
async def test_a_sweep_deletes_everything_that_a_killed_run_left(
    killed: Killed,
    batch: BatchClient,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    is_old: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    ticket = await killed(is_old=is_old)
    swept = await sweep(dry_run=False, container=containers[1])
    assert kinds_of(ticket, swept) == {"pool", "job", "uploads"}
    assert ticket.pool_id not in remaining(batch)
    for container in (*containers, *([] if is_old else [log_container(containers[1])])):
        assert list(blobs.get_container_client(container).list_blob_names()) == []
    assert await sweep(container=containers[1]) == ()


async def test_a_sweep_keeps_what_has_not_expired(
    killed: Killed, batch: BatchClient, containers: tuple[str, str]
) -> None:
    ticket = await killed(expired=False)
    assert kinds_of(ticket, await sweep(dry_run=False, container=containers[1])) == set()
    assert ticket.pool_id in remaining(batch)


@pytest.mark.parametrize(
    "place", [(0, lock_blob), (1, record_blob)], ids=["lock", "earlier version"]
)
async def test_a_sweep_keeps_what_belongs_to_a_run_that_holds_its_lock(
    killed: Killed,
    batch: BatchClient,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    place: tuple[int, Callable[[str], str]],
) -> None:
    ticket = await killed(is_old=place[0] == 1)
    lock = blobs.get_blob_client(containers[place[0]], place[1](ticket.lock_id))
    lease = lock.acquire_lease(lease_duration=60)
    assert kinds_of(ticket, await sweep(dry_run=False, container=containers[1])) == set()
    assert ticket.pool_id in remaining(batch)
    assert lock.exists()
    lease.release()


async def test_a_sweep_never_deletes_foreign_jobs_and_blobs(
    killed: Killed, batch: BatchClient, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    ticket = await killed()
    foreign = f"convert-1-{uuid.uuid4().hex}"
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    metadata = [models.BatchMetadataItem(name="expires_at", value=past)]
    job = models.BatchJobCreateOptions(
        id=foreign, pool_info=models.BatchPoolInfo(pool_id=ticket.pool_id), metadata=metadata
    )
    batch.create_job(job)
    inputs = blobs.get_container_client(containers[1])
    inputs.upload_blob("foreign/lock", b"", metadata={"expires_at": past})
    inputs.upload_blob("foreign/data", b"data")
    await sweep(dry_run=False, container=containers[1])
    assert foreign in remaining(batch)
    assert set(inputs.list_blob_names()) == {"foreign/lock", "foreign/data"}


async def test_a_sweep_keeps_a_lock_that_names_another_run_than_what_it_deletes(
    killed: Killed, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    ticket = await killed()
    lock = blobs.get_blob_client(containers[0], lock_blob(ticket.lock_id))
    lock.set_blob_metadata(OWN | {"job": "convert-1-later"})
    swept = await sweep(dry_run=False, container=containers[1])
    assert kinds_of(ticket, swept) == {"pool", "job", "uploads"}
    assert lock.get_blob_properties().metadata["job"] == "convert-1-later"


async def test_a_sweep_deletes_a_job_whose_containers_do_not_exist_any_more(
    killed: Killed, batch: BatchClient, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    ticket = await killed()
    for container in containers:
        blobs.delete_container(container)
    swept = await sweep(dry_run=False, container=containers[1])
    assert kinds_of(ticket, swept) == {"pool", "job"}
    assert ticket.pool_id not in remaining(batch)


async def test_a_sweep_uses_the_accounts_of_a_named_block(
    killed: Killed, containers: tuple[str, str], block: str, unset: Callable[[], None]
) -> None:
    ticket = await killed()
    unset()
    assert kinds_of(ticket, await sweep(container=containers[1], account=block)) == {
        "pool",
        "job",
        "uploads",
    }


async def test_an_expired_warm_pool_is_deleted_once_no_job_uses_it(
    batch: BatchClient, account: dict[str, str], containers: tuple[str, str]
) -> None:
    assert account
    now = datetime.now(UTC)
    warm = a_pool(keep_warm_minutes=10, spot_nodes=1, slots_per_node=3)
    ticket = a_ticket(
        now=now - timedelta(hours=2),
        pool_id=warm_pool_id(warm, Node(), now=now),
        owns_pool=False,
    )
    request = Request(sources=["a.mp4"], pool=warm, cleanup=Cleanup(container=containers[1]))
    await make_pool.fn(ticket, warm, files=1)
    in_use = a_ticket(now=now, pool_id=ticket.pool_id, owns_pool=False)
    await make_containers.fn(containers[1])
    await make_job.fn(in_use, request)
    await sweep(dry_run=False, container=containers[1])
    assert ticket.pool_id in remaining(batch)
    batch.begin_delete_job(in_use.job_id, polling_interval=0).wait()
    swept = await sweep(dry_run=False, container=containers[1])
    assert ticket.pool_id in {item.name for item in swept}
    assert ticket.pool_id not in remaining(batch)
