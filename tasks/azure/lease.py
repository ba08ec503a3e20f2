"""A lease on a blob, under an id of its own: the same id renews it, and takes it again.

https://learn.microsoft.com/rest/api/storageservices/lease-blob
"""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobLeaseClient, ContainerClient

LEASE_SECONDS = 30  # Azure allows 15 to 60
# A renewal that hangs must not outlast the lease. Its caller tries again.
QUICKLY: Any = {"retry_total": 0, "connection_timeout": 10, "read_timeout": 10}


class Lease:
    """A lease that keeps other runs, and the nodes' SAS tokens, from writing a blob."""

    def __init__(self, container: ContainerClient, name: str) -> None:
        self.container = container
        self.blob = container.get_blob_client(name)
        self.id = str(uuid.uuid4())
        self.is_taken = False

    def _client(self) -> BlobLeaseClient:
        return BlobLeaseClient(self.blob, lease_id=self.id)  # it forgets the id at a release

    async def take(self, metadata: Mapping[str, str]) -> bool:
        """Create the blob if it is missing, and take the lease. Return whether it was free."""
        try:
            if not await self.blob.exists():
                await self.blob.upload_blob(b"", overwrite=False, metadata=dict(metadata))
            await self._client().acquire(LEASE_SECONDS)
        except (ResourceExistsError, ResourceNotFoundError):  # leased, or just created or deleted
            return False
        self.is_taken = True
        return True

    async def renew(self) -> None:
        await self._client().renew(**QUICKLY)

    async def take_again(self) -> Mapping[str, str]:
        """Take the lease after it may have expired. Return the blob's metadata.

        Raises:
            ResourceExistsError: Another lease is in force.
            ResourceNotFoundError: The blob is gone.
        """
        await self._client().acquire(LEASE_SECONDS, **QUICKLY)
        return (await self.blob.get_blob_properties(**QUICKLY)).metadata or {}

    async def write(self, metadata: Mapping[str, str]) -> None:
        """Replace the blob's metadata. This fails if the lease is not in force any more."""
        await self.blob.set_blob_metadata(dict(metadata), lease=self.id)

    async def release(self) -> None:
        if not self.is_taken:
            return
        self.is_taken = False
        with suppress(ResourceExistsError, ResourceNotFoundError):  # another run has it now
            await self._client().release()

    async def delete(self) -> None:
        """Delete the blob, which ends the lease."""
        if not self.is_taken:
            return
        self.is_taken = False
        with suppress(ResourceNotFoundError):
            await self.blob.delete_blob(lease=self.id)
