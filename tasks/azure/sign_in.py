"""The sign-in with Microsoft Entra ID, by whichever of its methods is configured."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import AzureError

from tasks.azure.api_errors import RefreshFailedError
from tasks.azure.error_wording import explain
from tasks.azure.transport import open_transport

MARGIN = timedelta(minutes=10)  # before its expiry a token is replaced; the SDKs need five
PAUSE = timedelta(seconds=30)  # between attempts to replace a token that is still valid
# The renewal of a lease waits for a refresh, and must not miss its time. The Azure CLI takes 10 s.
REFRESH_SECONDS = 10
IDENTITY_SETTINGS = ("AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_CLIENT_ID")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class CachedToken:
    """A token and the time at which it is replaced."""

    token: AccessTokenInfo
    refresh_at: datetime

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.token.expires_on, UTC)

    def is_valid(self, now: datetime) -> bool:
        return now < self.expires_at

    def is_fresh(self, now: datetime) -> bool:
        return now < min(self.refresh_at, self.expires_at)


def cached_token(token: AccessTokenInfo) -> CachedToken:
    """Return a token that is replaced when its issuer recommends it, or before its expiry."""
    expires_at = datetime.fromtimestamp(token.expires_on, UTC)
    if token.refresh_on:
        return CachedToken(token, datetime.fromtimestamp(token.refresh_on, UTC))
    return CachedToken(token, expires_at - MARGIN)


Key = tuple[object, ...]
TOKENS: dict[Key, CachedToken] = {}
"""The cached tokens by identity, scopes and other options, such as a tenant."""


class SignIn:
    """A `DefaultAzureCredential` whose tokens all clients of this process share.

    Each stage has its own clients, and the Azure CLI takes a second for a token.
    """

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        given = options or {}
        cached_options = {name: value for name, value in given.items() if name != "claims"}
        identity = tuple(os.environ.get(name) for name in IDENTITY_SETTINGS)
        key = (identity, scopes, tuple(sorted(cached_options.items())))
        cached, is_challenge = TOKENS.get(key), bool(given.get("claims"))
        if cached is None:
            TOKENS[key] = cached_token(await request_token(*scopes, options=options))
        elif is_challenge or not cached.is_fresh(datetime.now(UTC)):
            request = partial(request_token, *scopes, options=options)
            await refresh(key, request, can_keep=not is_challenge)
        return TOKENS[key].token

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


async def refresh(
    key: Key, request: Callable[[], Awaitable[AccessTokenInfo]], *, can_keep: bool
) -> None:
    """Replace a cached token. Keep it if that fails while it is valid.

    Raises:
        RefreshFailedError: Neither the old token nor a new one can be used. This can pass.
    """
    old, now = TOKENS[key], datetime.now(UTC)
    TOKENS[key] = replace(old, refresh_at=now + PAUSE)  # other requests do not wait
    try:
        async with asyncio.timeout(REFRESH_SECONDS):
            TOKENS[key] = cached_token(await request())
    except (AzureError, TimeoutError) as error:
        problem = problem_of(error)
        if not can_keep or not old.is_valid(datetime.now(UTC)):
            raise RefreshFailedError(problem) from error
        time_left = f"for another {(old.expires_at - now) // timedelta(minutes=1)} minutes"
        logger.warning("%s The present sign-in is valid %s.", problem, time_left)


def problem_of(error: AzureError | TimeoutError) -> str:
    if isinstance(error, AzureError):
        return explain(error).problem
    return f"The sign-in could not be renewed within {REFRESH_SECONDS} seconds."


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
