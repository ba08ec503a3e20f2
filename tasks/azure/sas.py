"""How nodes reach blobs: by SAS tokens, or to read by the managed identity of their pool.

A hostile media file may take over a node. So no node can write what others trust: a token permits
to read one blob, to write one output, or to write logs. The identity of a pool belongs to all its
nodes, so it must not write anything.
"""

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


class ReadAccess(Protocol):
    """The URLs by which nodes read blobs, and the identity they need. Empty: the URL is enough."""

    @property
    def identity(self) -> Identified: ...

    def blob_url(self, container: str, blob: str) -> str: ...


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
        token = self._sign_blob(container, blob, permission="r")
        return f"{self.endpoint}/{container}/{quote(blob)}?{token}"

    def upload_url(self, container: str, blob: str) -> str:
        """Return the URL of a container, with a token that can write only one blob in it.

        Batch adds the name of the blob. It leaves the check of the token to Azure Storage:
        https://github.com/microsoft/ga4gh-tes/issues/362
        """
        token = self._sign_blob(container, blob, permission="w")
        return f"{self.endpoint}/{container}?{token}"

    def container_url(self, container: str) -> str:
        """Return a URL that can write blobs to one container, but neither read nor list them."""
        token = self._sign(generate_container_sas, container_name=container, permission="w")
        return f"{self.endpoint}/{container}?{token}"

    def _sign_blob(self, container: str, blob: str, *, permission: str) -> str:
        return self._sign(
            generate_blob_sas, container_name=container, blob_name=blob, permission=permission
        )

    def _sign(self, generate: Callable[..., str], **what: str) -> str:
        return generate(
            account_name=self.account,
            account_key=self.key,
            user_delegation_key=self.delegation,
            expiry=self.until,
            **what,
        )


def read_access(signer: Signer, identity: str) -> ReadAccess:
    """Return access by the identity, or by SAS tokens if it is empty."""
    return IdentityAccess(signer.endpoint, identity) if identity else signer


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
