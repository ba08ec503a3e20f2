"""The managed identity of pools, with which nodes access blobs over TLS."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient

from lab import Lab, until
from local_azure.testing import LocalStack

pytestmark = pytest.mark.accounts("entra")

OTHER = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity"
    "/userAssignedIdentities/other"
)


@pytest.fixture
def container(account: dict[str, str], tls_stack: LocalStack) -> Iterator[ContainerClient]:
    """Create a container with one blob in the storage of the TLS stack."""
    assert account
    with BlobServiceClient.from_connection_string(tls_stack.storage_connection) as service:
        container = service.create_container(f"identity-{uuid.uuid4().hex[:8]}")
        container.upload_blob("source", b"its content")
        yield container


@pytest.fixture
def pool_id(batch: BatchClient, lab: Lab) -> Iterator[str]:
    """Create a pool of one node on the TLS stack."""
    pool_id = f"identity-{uuid.uuid4().hex[:8]}"
    batch.create_pool(lab.pool_options(pool_id, target_dedicated_nodes=1))
    yield pool_id
    batch.begin_delete_job(pool_id, polling_interval=0).wait()
    batch.begin_delete_pool(pool_id, polling_interval=0).wait()


def identity_of(client: BatchClient, pool_id: str) -> str:
    identity = client.get_pool(pool_id).identity
    assert identity
    assert identity.type == "UserAssigned"
    (only,) = identity.user_assigned_identities or []
    return only.resource_id


def copy(container: ContainerClient, *, read_as: str, write_as: str) -> m.BatchTaskCreateOptions:
    """Return a task that downloads the blob and uploads it with another name."""
    source = m.ResourceFile(
        http_url=f"{container.url}/source",
        file_path="file",
        identity_reference=m.BatchNodeIdentityReference(resource_id=read_as),
    )
    target = m.OutputFileBlobContainerDestination(
        container_url=container.url,
        path="copy",
        identity_reference=m.BatchNodeIdentityReference(resource_id=write_as),
        upload_headers=[m.OutputFileUploadHeader(name="x-ms-meta-made", value="here")],
    )
    return m.BatchTaskCreateOptions(
        id="task",
        command_line="true",
        resource_files=[source],
        output_files=[
            m.OutputFile(
                file_pattern="file",
                destination=m.OutputFileDestination(container=target),
                upload_options=m.OutputFileUploadConfiguration(upload_condition="taskcompletion"),
            )
        ],
    )


def run(client: BatchClient, pool_id: str, task: m.BatchTaskCreateOptions) -> Any:
    info = m.BatchPoolInfo(pool_id=pool_id)
    client.create_job(m.BatchJobCreateOptions(id=pool_id, pool_info=info))
    client.create_task(pool_id, task)
    return until(
        lambda: (t := client.get_task(pool_id, "task")).state == "completed" and t.execution_info
    )


def test_nodes_read_and_write_with_the_identity_of_their_pool(
    batch: BatchClient, pool_id: str, container: ContainerClient
) -> None:
    identity = identity_of(batch, pool_id)
    task = copy(container, read_as=identity.upper(), write_as=identity)
    ended = run(batch, pool_id, task)
    assert ended.result == "success", ended.failure_info
    copied = container.get_blob_client("copy")
    assert copied.download_blob().readall() == b"its content"
    assert copied.get_blob_properties().metadata == {"made": "here"}
    shown = batch.get_task(pool_id, "task")
    assert shown.resource_files
    assert shown.resource_files[0].identity_reference.resource_id == identity.upper()


def test_a_download_with_an_identity_that_the_pool_does_not_have_is_denied(
    batch: BatchClient, pool_id: str, container: ContainerClient
) -> None:
    task = copy(container, read_as=OTHER, write_as=identity_of(batch, pool_id))
    ended = run(batch, pool_id, task)
    assert (ended.result, ended.failure_info.code) == ("failure", "BlobAccessDenied")


def test_an_upload_with_an_identity_that_the_pool_does_not_have_is_denied(
    batch: BatchClient, pool_id: str, container: ContainerClient
) -> None:
    task = copy(container, read_as=identity_of(batch, pool_id), write_as=OTHER)
    ended = run(batch, pool_id, task)
    assert (ended.result, ended.failure_info.code) == ("failure", "FileUploadAccessDenied")


def test_files_with_an_identity_are_refused_without_tls(lab: Lab) -> None:
    pool_id = lab.pool()
    assert lab.client.get_pool(pool_id).identity is None
    job_id = lab.job(pool_id)
    source = m.ResourceFile(
        http_url="https://storage/a",
        file_path="a",
        identity_reference=m.BatchNodeIdentityReference(resource_id=OTHER),
    )
    with pytest.raises(HttpResponseError) as caught:
        lab.task(job_id, resource_files=[source])
    assert caught.value.status_code == 501
    start = m.BatchStartTask(command_line="true", resource_files=[source])
    with pytest.raises(HttpResponseError) as caught:
        lab.client.create_pool(lab.pool_options("with-identity", start_task=start))
    assert caught.value.status_code == 501
