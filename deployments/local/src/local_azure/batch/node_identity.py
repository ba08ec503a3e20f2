"""The managed identity of pools, with which nodes access blobs without SAS tokens."""

from dataclasses import dataclass
from datetime import UTC, datetime

from local_azure.batch.specs import IdentityReference
from local_azure.directory import STORAGE, Directory


@dataclass(frozen=True)
class NodeIdentity:
    """The identity that all pools have."""

    directory: Directory

    def is_meant(self, reference: IdentityReference) -> bool:
        return reference.resource_id.lower() == self.directory.node_identity.lower()

    def bearer(self) -> str:
        """Return the Authorization header of a request to storage."""
        now = datetime.now(UTC)
        token = self.directory.issue(STORAGE, bearer=self.directory.node_client, now=now)
        return f"Bearer {token}"
