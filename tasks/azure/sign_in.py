"""The sign-in with Microsoft Entra ID, by whichever of its methods is configured."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, cast

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions

from tasks.azure.transport import open_transport

CACHE_TIME = timedelta(minutes=5)  # then a new sign-in or a new role takes effect
MARGIN = timedelta(minutes=10)  # before its expiry a token is replaced; the SDKs need five
IDENTITY_SETTINGS = ("AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_CLIENT_ID")


@dataclass(frozen=True, slots=True, repr=False)
class CachedToken:
    """A token and the time at which it was issued."""

    token: AccessTokenInfo
    issued_at: datetime

    def is_fresh(self, now: datetime) -> bool:
        expires_at = datetime.fromtimestamp(self.token.expires_on, UTC)
        return now < self.issued_at + CACHE_TIME and now < expires_at - MARGIN


TOKENS: dict[tuple[object, ...], CachedToken] = {}
"""The cached tokens by identity, scopes and other options, such as a tenant."""


class SignIn:
    """A `DefaultAzureCredential` whose tokens all clients of this process share.

    Each stage has its own clients, and the Azure CLI takes a second for a token.
    """

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        cached_options = {name: v for name, v in (options or {}).items() if name != "claims"}
        identity = tuple(os.environ.get(name) for name in IDENTITY_SETTINGS)
        key = (identity, scopes, tuple(sorted(cached_options.items())))
        cached, now = TOKENS.get(key), datetime.now(UTC)
        if cached is None or not cached.is_fresh(now) or (options or {}).get("claims"):
            cached = CachedToken(await request_token(*scopes, options=options), now)
            TOKENS[key] = cached
        return cached.token

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        info = await self.get_token_info(*scopes, options=cast("TokenRequestOptions", options))
        return AccessToken(info.token, info.expires_on)

    async def close(self) -> None:
        """Do nothing: no connection stays open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Do nothing, like `close`."""


async def request_token(*scopes: str, options: TokenRequestOptions | None) -> AccessTokenInfo:
    """Return a new token.

    Raises:
        ClientAuthenticationError: No method of sign-in works, or Entra ID refuses.
    """
    from azure.identity.aio import DefaultAzureCredential  # takes half a second

    async with (
        open_transport() as transport,
        DefaultAzureCredential(transport=transport) as credential,
    ):
        return await credential.get_token_info(*scopes, options=options)
