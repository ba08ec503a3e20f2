import json
import logging
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from storage_proxy import Refusal, StorageProxy
from tasks.azure.clients import blob_service
from tasks.azure.memory_store import StoredMemory, read_memory, write_memory
from tasks.failure_memory import Entry, Memory
from tasks.naming import OWN

BLOB = "lock.json"
MEMORY = Memory(
    failures={
        "k": Entry(
            reason="é", failed_at=datetime.now(UTC), runner="r", origin="ubuntu apt", ffmpeg=""
        )
    }
)


@pytest.fixture
def name(account: dict[str, str]) -> str:
    """Return the name of a container that does not exist yet."""
    assert account
    return f"memory-{uuid.uuid4().hex[:12]}"


async def read(name: str) -> StoredMemory:
    async with blob_service() as service:
        return await read_memory(service, name, BLOB)


async def write(name: str, stored: StoredMemory, memory: Memory = MEMORY) -> bool:
    async with blob_service() as service:
        return await write_memory(service, name, BLOB, stored=stored, memory=memory)


def put(blobs: BlobServiceClient, name: str, content: bytes, **values: Any) -> None:
    blobs.create_container(name).upload_blob(BLOB, content, **values)


async def test_the_container_is_created_by_the_first_write_and_the_memory_comes_back(
    name: str, blobs: BlobServiceClient
) -> None:
    assert await read(name) == StoredMemory()
    assert not blobs.get_container_client(name).exists()
    assert await write(name, StoredMemory())
    stored = await read(name)
    assert (stored.memory, stored.is_writable) == (MEMORY, True)
    assert blobs.get_container_client(name).get_container_properties().metadata == OWN
    assert await write(name, stored, Memory())
    assert (await read(name)).memory == Memory()


async def test_a_memory_that_another_run_has_changed_is_not_overwritten(name: str) -> None:
    nothing = StoredMemory()
    assert await write(name, nothing)
    assert not await write(name, nothing, Memory())
    stored = await read(name)
    assert await write(name, stored)
    assert not await write(name, stored, Memory())
    assert (await read(name)).memory == MEMORY


async def test_a_blob_that_no_run_created_is_ignored_and_kept(
    name: str, blobs: BlobServiceClient, caplog: pytest.LogCaptureFixture
) -> None:
    put(blobs, name, MEMORY.model_dump_json().encode())
    for _ in range(2):
        assert await read(name) == StoredMemory(is_writable=False)
    warnings = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert len(warnings) == 1  # although a run reads it several times
    assert "no run created it" in warnings[0]


async def test_a_memory_of_a_newer_version_is_ignored_and_kept(
    name: str, blobs: BlobServiceClient
) -> None:
    put(blobs, name, json.dumps({"version": 2, "sources": []}).encode(), metadata=OWN)
    stored = await read(name)
    assert (stored.memory, stored.is_writable) == (Memory(), False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"version": "1"}',
        b'{"version": 1, "failures": {"k": {"reason": 1}}}',
        b'{"version": 1, "failures": {"k": {"reason": "", "failed_at": "9", "runner": ""}}}',
    ],
)
async def test_a_damaged_memory_is_ignored_and_replaced_when_there_is_something_to_remember(
    name: str, blobs: BlobServiceClient, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    put(blobs, name, content, metadata=OWN)
    stored = await read(name)
    assert stored.memory == Memory()
    assert "is damaged, so it is ignored" in caplog.text
    assert await write(name, stored)
    assert (await read(name)).memory == MEMORY


async def test_a_memory_that_may_not_be_read_is_ignored(
    name: str, storage_faults: StorageProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    storage_faults.order(Refusal(status=403, method="GET", blob=f"{name}/*"))
    assert await read(name) == StoredMemory(is_writable=False)
    assert "cannot be read, so it is ignored" in caplog.text
