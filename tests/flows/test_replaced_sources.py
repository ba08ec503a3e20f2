"""Runs whose sources are replaced after the plan, and before a node reads them."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobClient, BlobServiceClient, ContentSettings

from storage_proxy import Hold, StorageProxy
from tasks.results.run_report import Report
from tasks.source_versions import REPLACED, WRONG_MD5

Convert = Callable[..., Any]


@pytest.fixture
def source(blobs: BlobServiceClient, samples: list[Path]) -> BlobClient:
    media = blobs.create_container(f"source-{uuid.uuid4().hex[:8]}")
    return media.upload_blob("a.mp4", samples[0].read_bytes())


@pytest.fixture
def convert_meanwhile(
    convert: Convert, source: BlobClient, storage_faults: StorageProxy
) -> Callable[[Callable[[], object]], Any]:
    """Return a function that converts the source, and calls another one after the plan."""

    async def run(change: Callable[[], object]) -> Report:
        hold = Hold(method="PUT", blob="*/runner-*")
        storage_faults.order(hold)
        running = asyncio.create_task(convert(f"az://{source.container_name}"))
        await storage_faults.first_request(running, lambda request: "/runner-" in request.blob)
        change()
        storage_faults.withdraw(hold)
        report: Report = await running
        return report

    return run


@pytest.fixture
def output(blobs: BlobServiceClient, containers: tuple[str, str]) -> BlobClient:
    return blobs.get_blob_client(containers[0], "a.mp3")


async def test_a_node_does_not_convert_a_source_that_was_replaced_after_the_plan(
    convert_meanwhile: Any, source: BlobClient, samples: list[Path], output: BlobClient
) -> None:
    other = samples[1].read_bytes()
    report = await convert_meanwhile(lambda: source.upload_blob(other, overwrite=True))
    (row,) = report.files
    assert (row.state, row.reason, row.exit_code) == ("failed", REPLACED, 75)
    assert not output.exists()


async def test_a_replaced_source_without_md5_fails_and_the_next_run_converts_it(
    convert: Convert,
    convert_meanwhile: Any,
    source: BlobClient,
    samples: list[Path],
    output: BlobClient,
) -> None:
    source.set_http_headers(ContentSettings(content_type="video/mp4"))  # removes the MD5
    other = samples[1].read_bytes()
    first = await convert_meanwhile(lambda: source.upload_blob(other, overwrite=True))
    assert [(row.state, row.reason) for row in first.files] == [("failed", REPLACED)]
    assert "convertkey" not in output.get_blob_properties().metadata
    second = await convert(f"az://{source.container_name}")
    assert [(row.state, row.output) for row in second.files] == [("converted", "a.mp3")]
    assert "convertkey" in output.get_blob_properties().metadata


async def test_a_source_whose_metadata_change_after_the_plan_is_converted(
    convert_meanwhile: Any, source: BlobClient
) -> None:
    report = await convert_meanwhile(lambda: source.set_blob_metadata({"scanned": "yes"}))
    assert [(row.state, row.reason) for row in report.files] == [("converted", None)]


async def test_a_source_with_a_wrong_md5_in_storage_fails_with_this_reason(
    convert: Convert, source: BlobClient
) -> None:
    source.set_http_headers(ContentSettings(content_md5=bytearray(16)))
    report = await convert(f"az://{source.container_name}")
    assert [(row.state, row.reason) for row in report.files] == [("failed", WRONG_MD5)]
