"""The sequence of Microsoft's tutorial, rewritten: `python tests/benchmarks/tutorial.py FOLDER`.

It uploads one file after the other, creates pool, job and tasks, and then lists all tasks every
second. It has the faults of the tutorial, but uses the arguments of our preset.
"""

import os
import shlex
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient, generate_blob_sas, generate_container_sas

from tasks.media.presets import PRESETS
from tasks.media.sync import with_times

SLOTS = 2
HOURS = timedelta(hours=2)
MP3 = [with_times(argument) for argument in PRESETS["mp3"].arguments]


def main(folder: Path) -> None:
    key = AzureNamedKeyCredential(
        os.environ["AZURE_BATCH_ACCOUNT"], os.environ["AZURE_BATCH_ACCESS_KEY"]
    )
    connection = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    with (
        BlobServiceClient.from_connection_string(connection) as blobs,
        BatchClient(os.environ["AZURE_BATCH_ENDPOINT"], key) as batch,
    ):
        convert(batch, blobs, folder, name=uuid.uuid4().hex[:8])


def convert(batch: BatchClient, blobs: BlobServiceClient, folder: Path, *, name: str) -> None:
    for container in (f"input-{name}", f"output-{name}"):
        blobs.create_container(container)
    inputs = [upload(blobs, f"input-{name}", path) for path in sorted(folder.rglob("*.*"))]
    make_pool(batch, f"pool-{name}")
    info = models.BatchPoolInfo(pool_id=f"pool-{name}")
    batch.create_job(models.BatchJobCreateOptions(id=f"job-{name}", pool_info=info))
    outputs = container_url(blobs, f"output-{name}")
    tasks = [write(n, resource, outputs) for n, resource in enumerate(inputs)]
    batch.create_tasks(f"job-{name}", tasks)
    while any(task.state != "completed" for task in batch.list_tasks(f"job-{name}")):
        time.sleep(1)
    made = len(list(blobs.get_container_client(f"output-{name}").list_blob_names()))
    if made < len(inputs):  # the tutorial would not notice that
        raise RuntimeError(f"The tutorial made {made} of {len(inputs)} outputs")
    blobs.delete_container(f"input-{name}")
    batch.begin_delete_job(f"job-{name}")
    batch.begin_delete_pool(f"pool-{name}")


def upload(blobs: BlobServiceClient, container: str, path: Path) -> models.ResourceFile:
    blob = blobs.get_blob_client(container, path.name)
    with path.open("rb") as file:
        blob.upload_blob(file)
    token = generate_blob_sas(
        account_name=str(blobs.account_name),
        account_key=blobs.credential.account_key,
        container_name=container,
        blob_name=path.name,
        permission="r",
        expiry=datetime.now(UTC) + HOURS,
    )
    return models.ResourceFile(http_url=f"{blob.url}?{token}", file_path=path.name)


def container_url(blobs: BlobServiceClient, container: str) -> str:
    token = generate_container_sas(
        account_name=str(blobs.account_name),
        account_key=blobs.credential.account_key,
        container_name=container,
        permission="w",
        expiry=datetime.now(UTC) + HOURS,
    )
    return f"{blobs.get_container_client(container).url}?{token}"


def make_pool(batch: BatchClient, name: str) -> None:
    image = models.BatchVmImageReference(
        publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
    )
    machine = models.VirtualMachineConfiguration(
        image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
    )
    start = models.BatchStartTask(
        command_line="/bin/sh -c 'command -v ffmpeg || apt-get install -y ffmpeg'",
        wait_for_success=True,
    )
    batch.create_pool(
        models.BatchPoolCreateOptions(
            id=name,
            vm_size="STANDARD_D2DS_V5",
            virtual_machine_configuration=machine,
            target_low_priority_nodes=1,
            task_slots_per_node=SLOTS,
            start_task=start,
        )
    )


def write(number: int, source: models.ResourceFile, outputs: str) -> models.BatchTaskCreateOptions:
    made = f"{Path(source.file_path or '').stem}.mp3"
    arguments = shlex.join(["-i", source.file_path or "", *MP3, made])
    words = f"ffmpeg -nostdin -y -loglevel error {arguments}"
    return models.BatchTaskCreateOptions(
        id=f"Task{number}",
        command_line=f"/bin/bash -c {shlex.quote(words)}",
        resource_files=[source],
        output_files=[
            models.OutputFile(
                file_pattern=made,
                destination=models.OutputFileDestination(
                    container=models.OutputFileBlobContainerDestination(container_url=outputs)
                ),
                upload_options=models.OutputFileUploadConfiguration(
                    upload_condition=models.OutputFileUploadCondition.TASK_SUCCESS
                ),
            )
        ],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
