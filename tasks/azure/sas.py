"""How nodes get at blobs: by SAS tokens, or by the managed identity of their pool."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote

from azure.storage.blob import UserDelegationKey, generate_blob_sas, generate_container_sas
from azure.storage.blob.aio import BlobServiceClient

from tasks.azure.batch_task import Identified

CLOCK_SKEW = timedelta(minutes=15)
LONGEST_DELEGATION = timedelta(days=7)  # that Azure Storage gives


class Access(Protocol):
    """Gives the URLs of blobs, and whose identity opens them; nobody's: the URL itself does."""

    @property
    def identity(self) -> Identified: ...

    def blob_url(self, container: str, blob: str) -> str: ...

    def container_url(self, container: str) -> str: ...


@dataclass(frozen=True, slots=True)
class ByIdentity:
    """Plain URLs, for nodes that have a managed identity."""

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
    """Makes SAS tokens that end at `until`. Its tokens go to Azure and nowhere else."""

    endpoint: str  # https://account.blob…
    account: str
    until: datetime
    key: str | None
    delegation: UserDelegationKey | None

    @property
    def identity(self) -> Identified:
        """The token in the URL is all that a node needs."""
        return {}

    def blob_url(self, container: str, blob: str) -> str:
        """A URL that reads one blob."""
        token = self._sign(
            generate_blob_sas, container_name=container, blob_name=blob, permission="r"
        )
        return f"{self.endpoint}/{container}/{quote(blob)}?{token}"

    def container_url(self, container: str) -> str:
        """A URL that writes blobs into one container, and neither reads nor lists them."""
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


async def node_access(service: BlobServiceClient, *, until: datetime, identity: str) -> Access:
    """By the identity, where one is named; else by SAS tokens that end at `until`."""
    if identity:
        return ByIdentity(service.url.rstrip("/"), identity)
    return await make_signer(service, until=until)


async def make_signer(service: BlobServiceClient, *, until: datetime) -> Signer:
    """A signer by the account's key, else by a user-delegation key of who is signed in."""
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
"""The last delegation key for each account, and until when it was asked for."""


async def delegation_key(service: BlobServiceClient, *, until: datetime) -> UserDelegationKey:
    """One key for all waves of a run; another run has another, as a key may have been revoked.

    It is good from a while ago, should this clock be ahead of Azure's, and for a week at most.
    """
    asked_until, key = DELEGATIONS.get(service.url, (None, None))
    if key is None or asked_until != until:
        begins = datetime.now(UTC) - CLOCK_SKEW
        ends = min(until, begins + LONGEST_DELEGATION)
        key = await service.get_user_delegation_key(begins, ends)
        DELEGATIONS[service.url] = until, key
    return key
