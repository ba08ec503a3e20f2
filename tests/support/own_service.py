"""A Batch service of a test's own, without storage: its clock may run as fast as the test likes.

Test modules assign its fixtures, which then replace the account that tests usually share.
"""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential

from local_azure.batch import create_app
from local_azure.ffmpeg import node_path
from servers import served

KEY = base64.b64encode(b"of these tests only").decode()


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Start a Batch service for the test."""
    path = node_path(tmp_path / "bin")  # a machine may have no ffmpeg of its own
    app = create_app(account="own", key=KEY, data=tmp_path, max_nodes=8, node_path=path)
    with served(app) as port:
        settings = {
            "AZURE_BATCH_ENDPOINT": f"http://127.0.0.1:{port}",
            "AZURE_BATCH_ACCOUNT": "own",
            "AZURE_BATCH_ACCESS_KEY": KEY,
            "AZURE_STORAGE_ACCOUNT": "none",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield settings


@pytest.fixture
def batch(account: dict[str, str]) -> Iterator[BatchClient]:
    """Yield a client of the Batch service."""
    key = AzureNamedKeyCredential(account["AZURE_BATCH_ACCOUNT"], KEY)
    with BatchClient(account["AZURE_BATCH_ENDPOINT"], key) as client:
        yield client
