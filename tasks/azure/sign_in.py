"""Signing in by Microsoft Entra ID, in whichever of its many ways is set up."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, cast

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions

from tasks.azure.transport import opened_transport

KEPT = timedelta(minutes=5)  # after that, who has signed in meanwhile, or got a role, is seen
MARGIN = timedelta(minutes=10)  # a token that ends sooner is not used: the SDKs ask for five
IDENTITY = ("AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_CLIENT_ID")


@dataclass(frozen=True, slots=True, repr=False)
class Kept:
    """A token, and when it was got."""

    token: AccessTokenInfo
    since: datetime

    def is_fresh(self, now: datetime) -> bool:
        ends = datetime.fromtimestamp(self.token.expires_on, UTC)
        return now < self.since + KEPT and now < ends - MARGIN


TOKENS: dict[tuple[object, ...], Kept] = {}
"""By who signs in, for which resource, and what else was asked, such as a tenant."""


class SignIn:
    """`DefaultAzureCredential`, whose tokens all clients of this process share for a while.

    Each stage has clients of its own, and a token of the Azure CLI's takes a second.
    """

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        asked = {name: value for name, value in (options or {}).items() if name != "claims"}
        who = tuple(os.environ.get(name) for name in IDENTITY)
        key = (who, scopes, tuple(sorted(asked.items())))
        kept, now = TOKENS.get(key), datetime.now(UTC)
        if kept is None or not kept.is_fresh(now) or (options or {}).get("claims"):
            kept = TOKENS[key] = Kept(await ask(*scopes, options=options), now)
        return kept.token

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        info = await self.get_token_info(*scopes, options=cast("TokenRequestOptions", options))
        return AccessToken(info.token, info.expires_on)

    async def close(self) -> None:
        """It holds nothing open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """As close."""


async def ask(*scopes: str, options: TokenRequestOptions | None) -> AccessTokenInfo:
    """A new token.

    Raises:
        ClientAuthenticationError: nobody is signed in, or Entra ID refuses.
    """
    from azure.identity.aio import DefaultAzureCredential  # takes half a second

    async with (
        opened_transport() as transport,
        DefaultAzureCredential(transport=transport) as credential,
    ):
        return await credential.get_token_info(*scopes, options=options)
