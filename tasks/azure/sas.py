"""How nodes reach blobs: by SAS tokens or by the managed identity of their pool."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote

from azure.storage.blob import UserDelegationKey, generate_blob_sas, generate_container_sas
from azure.storage.blob.aio import BlobServiceClient

from tasks.azure.batch_task import Identified

CLOCK_SKEW = timedelta(minutes=15)
LONGEST_DELEGATION = timedelta(days=7)  # the limit of Azure Storage


class NodeAccess(Protocol):
    """The URLs by which nodes reach blobs, and the identity they need. Empty: the URL is enough."""

    @property
    def identity(self) -> Identified: ...

    def blob_url(self, container: str, blob: str) -> str: ...

    def container_url(self, container: str) -> str: ...


@dataclass(frozen=True, slots=True)
class IdentityAccess:
    """Plain URLs for nodes with a managed identity."""

    endpoint: str
    resource_id: str

    @property
    def identity(self) -> Identified:
        return {"identityReference": {"resourceId": self.resource_id}}

    def blob_url(self, container: str, blob: str) -> str:
        return f"{self.endpoint}/{container}/{quote(blob)}"

    def container_url(self, container: str) -> str:
        return f"{self.endpoint}/{container}"


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """URLs with SAS tokens that expire at `until`. The tokens are sent to Azure only."""

    endpoint: str  # https://account.blob…
    account: str
    until: datetime
    key: str | None
    delegation: UserDelegationKey | None

    @property
    def identity(self) -> Identified:
        """Return no identity: the token in the URL is enough."""
        return {}

    def blob_url(self, container: str, blob: str) -> str:
        """Return a URL that can read one blob."""
        token = self._sign(
            generate_blob_sas, container_name=container, blob_name=blob, permission="r"
        )
        return f"{self.endpoint}/{container}/{quote(blob)}?{token}"

    def container_url(self, container: str) -> str:
        """Return a URL that can write blobs to one container, but neither read nor list them."""
        token = self._sign(generate_container_sas, container_name=container, permission="w")
        return f"{self.endpoint}/{container}?{token}"

    def _sign(self, generate: Callable[..., str], **what: str) -> str:
        return generate(
            account_name=self.account,
            account_key=self.key,
            user_delegation_key=self.delegation,
            expiry=self.until,
            **what,
        )


async def node_access(service: BlobServiceClient, *, until: datetime, identity: str) -> NodeAccess:
    """Return access by the identity, or by SAS tokens until `until` if the identity is empty."""
    if identity:
        return IdentityAccess(service.url.rstrip("/"), identity)
    return await make_signer(service, until=until)


async def make_signer(service: BlobServiceClient, *, until: datetime) -> Signer:
    """Return a signer with the account's key or, without one, a user delegation key."""
    key = getattr(service.credential, "account_key", None)
    delegation = None if key else await delegation_key(service, until=until)
    if delegation:
        until = min(until, datetime.fromisoformat(str(delegation.signed_expiry)))
    return Signer(
        endpoint=service.url.rstrip("/"),
        account=str(service.account_name),
        until=until,
        key=key,
        delegation=delegation,
    )


DELEGATIONS: dict[str, tuple[datetime, UserDelegationKey]] = {}
"""The last delegation key for each account, and the end that was requested for it."""


async def delegation_key(service: BlobServiceClient, *, until: datetime) -> UserDelegationKey:
    """Return one key for all waves of a run. Another run gets a new one: keys can be revoked.

    The key is valid from some minutes ago, in case this machine's clock is ahead of Azure's, and
    for seven days at most.
    """
    requested_until, key = DELEGATIONS.get(service.url, (None, None))
    if key is None or requested_until != until:
        start = datetime.now(UTC) - CLOCK_SKEW
        expiry = min(until, start + LONGEST_DELEGATION)
        key = await service.get_user_delegation_key(start, expiry)
        DELEGATIONS[service.url] = until, key
    return key
