"""The start task of a node, which provides ffmpeg.

A node whose start task fails is useless but billed.
"""

from datetime import datetime
from pathlib import Path

from azure.batch import models

from tasks.azure.clients import blob_service
from tasks.azure.sas import CLOCK_SKEW, make_signer
from tasks.media.addresses import AZURE, split_address
from tasks.parameters import Node

# While an image boots, its own updates hold apt's locks for minutes, so that even `apt-get update`
# fails at once: batch-insights #16, doAzureParallel #320, azure-linux-extensions #1318. The script
# stops them without waiting, finishes what they left half installed, and tries for ten minutes.
# pool.bicep loads the same file. It has no comments, because Batch gets it as one line.
INSTALL = Path(__file__).with_name("install_ffmpeg.sh").read_text()
SCRIPTS = {"apt": INSTALL.strip().replace("\n", " "), "image": "command -v ffmpeg"}
# runner.sh looks there first. The start task runs it: a build for another CPU fails the node.
FROM_STORAGE = (
    'bin="$AZ_BATCH_NODE_SHARED_DIR/bin" && mkdir -p "$bin" && cp -f ffmpeg "$bin/"'
    ' && "$bin/ffmpeg" -version'
)


async def sign_ffmpeg(node: Node, *, until: datetime) -> str | None:
    """Return a URL of ffmpeg in storage for nodes that start by then, or None for other sources."""
    if not node.ffmpeg.startswith(AZURE):
        return None
    async with blob_service() as service:
        signer = await make_signer(service, until=until + CLOCK_SKEW)
    return signer.blob_url(*split_address(node.ffmpeg))


def start_task(node: Node, *, ffmpeg_url: str | None = None) -> models.BatchStartTask:
    file = models.ResourceFile(http_url=ffmpeg_url, file_path="ffmpeg", file_mode="0755")
    return models.BatchStartTask(
        command_line=f"/bin/sh -c '{SCRIPTS.get(node.ffmpeg, FROM_STORAGE)}'",
        resource_files=[file] if ffmpeg_url else None,
        wait_for_success=True,
        max_task_retry_count=1 if ffmpeg_url else 0,  # the script for apt itself retries
        user_identity=models.UserIdentity(
            auto_user=models.AutoUserSpecification(
                scope=models.AutoUserScope.POOL, elevation_level=models.ElevationLevel.ADMIN
            )
        ),
    )
