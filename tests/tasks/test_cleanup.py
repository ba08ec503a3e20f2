from collections.abc import Callable

import pytest
from azure.batch import BatchClient, models
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from records import a_ticket

from storage_proxy import Drop, StorageProxy
from tasks.azure.autoscale import NO_NODES
from tasks.azure.error_wording import explain
from tasks.azure.tags import tags
from tasks.cleanup import clean_up, end_predecessor, is_ours, release_nodes
from tasks.models import Ticket
from tasks.naming import OWN, input_blob, lock_blob, log_container, log_folder
from tasks.parameters import Cleanup

Create = Callable[..., Ticket]


@pytest.fixture
def create(batch: BatchClient) -> Create:
    """Create a run's pool, without nodes, and its job, both with the tags of `tagged`."""
    image = models.BatchVmImageReference(
        publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
    )
    machine = models.VirtualMachineConfiguration(
        image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
    )

    def create_both(ticket: Ticket, tagged: Ticket | None) -> Ticket:
        metadata = tags(tagged) if tagged else []
        batch.create_pool(
            models.BatchPoolCreateOptions(
                id=ticket.pool_id,
                vm_size="Standard_D2ds_v5",
                virtual_machine_configuration=machine,
                metadata=metadata,
            )
        )
        info = models.BatchPoolInfo(pool_id=ticket.pool_id)
        batch.create_job(
            models.BatchJobCreateOptions(id=ticket.job_id, pool_info=info, metadata=metadata)
        )
        return ticket

    return create_both


def states(batch: BatchClient, ticket: Ticket) -> tuple[str, str]:
    """Return the states of the job and the pool."""
    try:
        job = str(batch.get_job(ticket.job_id).state.value)
    except ResourceNotFoundError:
        job = "deleting"
    try:
        pool = str(batch.get_pool(ticket.pool_id).state.value)
    except ResourceNotFoundError:
        pool = "deleting"
    return job, pool


async def test_the_runs_job_and_pool_are_deleted(batch: BatchClient, create: Create) -> None:
    ticket = a_ticket()
    create(ticket, ticket)
    await clean_up.fn(ticket, Cleanup(), is_finished=False)
    assert states(batch, ticket) == ("deleting", "deleting")
    await clean_up.fn(ticket, Cleanup(), is_finished=False)


async def test_nodes_are_released_before_the_job_ends(batch: BatchClient, create: Create) -> None:
    ticket = a_ticket()
    create(ticket, ticket)
    await release_nodes.fn(ticket, Cleanup())
    assert states(batch, ticket) == ("active", "deleting")


async def test_cleanup_succeeds_if_nothing_was_created(account: dict[str, str]) -> None:
    assert account
    await clean_up.fn(a_ticket(), Cleanup(), is_finished=False)
    await clean_up.fn(a_ticket(), Cleanup(job="keep"), is_finished=False)


async def test_a_conflict_that_does_not_mean_the_end_of_a_pool_is_an_error(
    batch: BatchClient, create: Create, order: Callable[..., None]
) -> None:
    ticket = a_ticket()
    create(ticket, ticket)
    order("answer", status=409, operation="DELETE /pools/*", times=1)
    with pytest.raises(ResourceExistsError, match="OperationInvalidForCurrentState"):
        await clean_up.fn(ticket, Cleanup(), is_finished=False)
    assert states(batch, ticket) == ("deleting", "active")
    await clean_up.fn(ticket, Cleanup(), is_finished=False)
    assert states(batch, ticket) == ("deleting", "deleting")


@pytest.mark.parametrize("job", ["delete", "keep"])
async def test_jobs_and_pools_without_our_tags_or_with_another_lock_are_left_alone(
    batch: BatchClient, create: Create, job: str
) -> None:
    cleanup = Cleanup.model_validate({"job": job})
    for tagged in (None, a_ticket()):
        ticket = create(a_ticket(), tagged)
        await clean_up.fn(ticket, cleanup, is_finished=False)
        await end_predecessor.fn(
            {"job": ticket.job_id, "pool": ticket.pool_id}, lock_id=ticket.lock_id
        )
        assert states(batch, ticket) == ("active", "active")


async def test_a_kept_job_is_ended_and_a_kept_pool_loses_its_nodes(
    batch: BatchClient, create: Create
) -> None:
    ticket = a_ticket()
    create(ticket, ticket)
    await clean_up.fn(ticket, Cleanup(job="keep", pool="keep"), is_finished=False)
    job, pool = states(batch, ticket)
    assert job in ("terminating", "completed")
    assert pool == "active"
    assert batch.get_pool(ticket.pool_id).auto_scale_formula == NO_NODES


async def test_a_shared_pool_is_left_alone(batch: BatchClient, create: Create) -> None:
    ticket = a_ticket(owns_pool=False)
    create(ticket, ticket)
    await clean_up.fn(ticket, Cleanup(), is_finished=False)
    assert states(batch, ticket) == ("deleting", "active")


async def test_the_next_run_under_the_lock_ends_the_last_runs_job_and_pool(
    batch: BatchClient, create: Create
) -> None:
    last = a_ticket()
    create(last, last)
    predecessor = {"job": last.job_id, "pool": last.pool_id}
    await end_predecessor.fn(predecessor, lock_id=last.lock_id)
    assert states(batch, last) == ("deleting", "deleting")
    await end_predecessor.fn({"job": last.job_id, "pool": ""}, lock_id=last.lock_id)
    await end_predecessor.fn({}, lock_id=last.lock_id)


async def test_uploads_and_logs_are_deleted_after_a_finished_run_but_the_lock_is_not(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    ticket, other = a_ticket(), a_ticket()
    container = blobs.create_container(containers[1])
    kept = [lock_blob(ticket.lock_id), input_blob(other.lock_id, "c0"), "somebody's"]
    gone = [input_blob(ticket.lock_id, f"c{n}") for n in range(260)]
    gone.append(f"{ticket.lock_id}/logs/{ticket.run_id}/k-1/stderr.txt")  # of an earlier version
    for name in (*kept, *gone):
        container.upload_blob(name, b"", metadata=OWN)
    kept.append(input_blob(ticket.lock_id, "theirs"))
    container.upload_blob(kept[-1], b"foreign content")
    logs = blobs.create_container(log_container(containers[1]))
    for each in (ticket, other):
        folder = log_folder(each.lock_id, each.run_id)
        logs.upload_blob(f"{folder}k-1-secret/stderr.txt", b"", metadata=OWN)
    cleanup = Cleanup(container=containers[1])
    await clean_up.fn(ticket, cleanup, is_finished=False)
    assert len(list(container.list_blob_names())) == len(kept) + len(gone)
    await clean_up.fn(ticket, cleanup.model_copy(update={"inputs": "keep"}), is_finished=True)
    assert len(list(container.list_blob_names())) == len(kept) + len(gone)
    await clean_up.fn(ticket, cleanup, is_finished=True)
    assert sorted(container.list_blob_names()) == sorted(kept)
    assert [name.split("/")[0] for name in logs.list_blob_names()] == [other.lock_id]


async def test_an_upload_that_cannot_be_deleted_is_an_error_after_all_others_are_deleted(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    ticket = a_ticket()
    container = blobs.create_container(containers[1])
    names = [input_blob(ticket.lock_id, f"c{n:03}") for n in range(60)]
    for name in names:
        container.upload_blob(name, b"", metadata=OWN)
    lease = container.get_blob_client(names[7]).acquire_lease(lease_duration=60)
    with pytest.raises(HttpResponseError, match="lease") as refused:
        await clean_up.fn(ticket, Cleanup(container=containers[1]), is_finished=True)
    assert explain(refused.value).problem == (
        "Azure Storage refused a request: 412 LeaseIdMissing."
    )
    assert list(container.list_blob_names()) == [names[7]]
    lease.release()
    await clean_up.fn(ticket, Cleanup(container=containers[1]), is_finished=True)
    assert list(container.list_blob_names()) == []


async def test_logs_are_deleted_although_a_node_leased_one_and_made_a_snapshot_of_another(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    ticket = a_ticket()
    blobs.create_container(containers[1])
    logs = blobs.create_container(log_container(containers[1]))
    folder = log_folder(ticket.lock_id, ticket.run_id)
    for name in ("leased", "snapshot", "plain"):
        logs.upload_blob(f"{folder}{name}", b"", metadata=OWN)
    logs.get_blob_client(f"{folder}leased").acquire_lease()
    logs.get_blob_client(f"{folder}snapshot").create_snapshot()
    await clean_up.fn(ticket, Cleanup(container=containers[1]), is_finished=True)
    assert list(logs.list_blobs(include=["snapshots"])) == []


@pytest.mark.usefixtures("quick_retries")
async def test_uploads_are_deleted_although_the_response_to_their_deletion_is_lost(
    blobs: BlobServiceClient, containers: tuple[str, str], storage_faults: StorageProxy
) -> None:
    ticket = a_ticket()
    container = blobs.create_container(containers[1])
    for n in range(3):
        container.upload_blob(input_blob(ticket.lock_id, f"c{n}"), b"", metadata=OWN)
    storage_faults.order(Drop(when="after", method="POST", times=1))
    await clean_up.fn(ticket, Cleanup(container=containers[1]), is_finished=True)
    assert list(container.list_blob_names()) == []
    assert [request.method for request in storage_faults.requests].count("POST") == 2


def test_a_job_is_ours_if_it_has_our_tag_and_the_same_lock() -> None:
    ticket = a_ticket()
    assert is_ours(tags(ticket), ticket.lock_id)
    assert not is_ours(tags(ticket), "0" * 16)
    assert not is_ours(None, ticket.lock_id)
    foreign = [models.BatchMetadataItem(name="lock", value=ticket.lock_id)]
    assert not is_ours(foreign, ticket.lock_id)
