"""The managed identity of pools, by which nodes reach blobs without SAS tokens."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from azure.core.credentials import AccessToken, AccessTokenInfo

from deployments.local.directory import STORAGE, TOKEN_SECONDS, Directory

if TYPE_CHECKING:
    from deployments.local.batch.specs import IdentityReference

STORAGE_VERSION = "2021-12-02"  # of the REST API; without one, storage takes no token


@dataclass(frozen=True)
class NodeIdentity:
    """The one identity that pools have, as a credential for storage."""

    directory: Directory

    def is_meant(self, reference: "IdentityReference") -> bool:
        return reference.resource_id.lower() == self.directory.node_identity.lower()

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token().token}", "x-ms-version": STORAGE_VERSION}

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(*self._token())

    async def get_token_info(self, *_: str, **__: Any) -> AccessTokenInfo:
        return AccessTokenInfo(*self._token())

    async def close(self) -> None:
        """It holds nothing open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """As close."""

    def _token(self) -> AccessToken:
        now = datetime.now(UTC)
        token = self.directory.issue(STORAGE, bearer=self.directory.node_client, now=now)
        return AccessToken(token, int(now.timestamp()) + TOKEN_SECONDS)
