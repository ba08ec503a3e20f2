"""A Batch service of a test's own, without storage: its clock may run as fast as the test likes."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_azure.batch import create_app
from local_azure.ffmpeg import node_path
from servers import served

KEY = base64.b64encode(b"of these tests only").decode()


@contextmanager
def running_service(folder: Path) -> Iterator[dict[str, str]]:
    """Run the service during the block, and yield the settings of its account."""
    path = node_path(folder / "bin")  # a machine may have no ffmpeg of its own
    app = create_app(account="own", key=KEY, data=folder, max_nodes=8, node_path=path)
    with served(app) as port:
        yield {
            "AZURE_BATCH_ENDPOINT": f"http://127.0.0.1:{port}",
            "AZURE_BATCH_ACCOUNT": "own",
            "AZURE_BATCH_ACCESS_KEY": KEY,
            "AZURE_STORAGE_ACCOUNT": "none",
        }
