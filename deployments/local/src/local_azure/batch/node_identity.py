"""The managed identity of pools, by which nodes reach blobs without SAS tokens."""

from dataclasses import dataclass
from datetime import UTC, datetime

from local_azure.batch.specs import IdentityReference
from local_azure.directory import STORAGE, Directory


@dataclass(frozen=True)
class NodeIdentity:
    """The one identity that pools have, as storage takes it."""

    directory: Directory

    def is_meant(self, reference: IdentityReference) -> bool:
        return reference.resource_id.lower() == self.directory.node_identity.lower()

    def bearer(self) -> str:
        """What the Authorization header of a request to storage says."""
        now = datetime.now(UTC)
        token = self.directory.issue(STORAGE, bearer=self.directory.node_client, now=now)
        return f"Bearer {token}"
