"""The sign-in, against the token endpoint of a stack with TLS."""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import jwt
import pytest
from azure.core.credentials import AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError

from local_azure.testing import LocalStack
from tasks.azure import sign_in
from tasks.azure.api_errors import RefreshFailedError, is_transient
from tasks.azure.clients import batch_client
from tasks.azure.error_wording import explain
from tasks.azure.settings import SIGN_IN_SETTINGS, export_sign_in_settings
from tasks.azure.sign_in import TOKENS, CachedToken, SignIn, cached_token

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
STORAGE = "https://storage.azure.com/.default"


@pytest.fixture
def settings(tls_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Put a TLS stack's settings into the environment, and forget tokens of other tests."""
    for name, value in tls_stack.settings.items():
        monkeypatch.setenv(name, value)
    TOKENS.clear()
    yield tls_stack.settings
    TOKENS.clear()


def cached(*, for_seconds: float, **fields: int) -> CachedToken:
    return cached_token(AccessTokenInfo("token", int(NOW.timestamp() + for_seconds), **fields))


def test_a_token_is_used_until_ten_minutes_before_its_expiry() -> None:
    token = cached(for_seconds=3600)
    assert token.is_fresh(NOW + timedelta(minutes=49))
    assert not token.is_fresh(NOW + timedelta(minutes=50))
    assert token.is_valid(NOW + timedelta(minutes=59))
    assert not token.is_valid(NOW + timedelta(minutes=60))


def test_a_token_is_replaced_when_its_issuer_recommends_it() -> None:
    day = 24 * 3600
    token = cached(for_seconds=day, refresh_on=int(NOW.timestamp()) + day // 2)
    assert token.is_fresh(NOW + timedelta(hours=11))
    assert not token.is_fresh(NOW + timedelta(hours=12))


def test_a_token_that_is_expired_is_not_fresh_although_its_next_refresh_is_later() -> None:
    assert not replace(cached(for_seconds=-1), refresh_at=NOW + timedelta(days=1)).is_fresh(NOW)


def test_a_cached_token_does_not_show_its_secret() -> None:
    assert "token" not in repr(cached(for_seconds=1)).replace("tasks.azure.sign_in", "")


async def test_clients_of_a_process_share_a_token_for_each_resource(
    settings: dict[str, str],
) -> None:
    first, second = await SignIn().get_token_info(STORAGE), await SignIn().get_token(STORAGE)
    assert first.token == second.token
    claims = jwt.decode(first.token, options={"verify_signature": False})
    assert claims["oid"] == settings["AZURE_CLIENT_ID"]
    async with batch_client() as batch:
        await anext(batch.list_pools(), None)
    assert len(TOKENS) == 2


@pytest.fixture
def order_token(
    settings: dict[str, str], account: dict[str, str], order: Callable[..., None]
) -> Callable[..., None]:
    """Return a function that orders a flaw of the next tokens."""
    assert settings == account
    return partial(order, "token")


@pytest.mark.accounts("entra")
async def test_a_token_is_used_while_it_is_valid_although_it_cannot_be_refreshed(
    order_token: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    order_token(flaw="brief", times=1)  # so that it needs a refresh at once
    first = await SignIn().get_token_info(STORAGE)
    order_token(flaw="refused")
    assert (await SignIn().get_token_info(STORAGE)).token == first.token
    [warning] = [record.message for record in caplog.records if record.name.endswith("sign_in")]
    assert warning.startswith("Microsoft Entra ID refused the sign-in: AADSTS7000222")
    assert warning.endswith("The present sign-in is valid for another 9 minutes.")


@pytest.mark.accounts("entra")
async def test_a_refresh_that_failed_is_repeated_after_a_pause_and_not_by_each_request(
    order_token: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    order_token(flaw="brief", times=1)
    first = await SignIn().get_token_info(STORAGE)
    order_token(flaw="refused", times=1)
    for _ in range(3):
        assert (await SignIn().get_token_info(STORAGE)).token == first.token
    assert len([record for record in caplog.records if record.name.endswith("sign_in")]) == 1
    [key] = TOKENS
    TOKENS[key] = replace(TOKENS[key], refresh_at=datetime.now(UTC))
    assert (await SignIn().get_token_info(STORAGE)).token != first.token


@pytest.mark.accounts("entra")
async def test_a_refresh_that_fails_after_the_token_has_expired_is_a_transient_error(
    order_token: Callable[..., None],
) -> None:
    await SignIn().get_token_info(STORAGE)
    expire_tokens()
    order_token(flaw="refused", times=1)
    with pytest.raises(RefreshFailedError) as caught:
        await SignIn().get_token_info(STORAGE)
    assert is_transient(caught.value)
    assert "AADSTS7000222" in explain(caught.value).problem
    await SignIn().get_token_info(STORAGE)


@pytest.mark.accounts("entra")
async def test_a_first_sign_in_that_fails_is_not_transient(
    order_token: Callable[..., None],
) -> None:
    order_token(flaw="refused", times=1)
    with pytest.raises(ClientAuthenticationError) as caught:
        await SignIn().get_token_info(STORAGE)
    assert not is_transient(caught.value)


@pytest.mark.accounts("entra")
async def test_a_refresh_does_not_wait_long_for_an_authority_that_is_unavailable(
    order_token: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK alone repeats the request for minutes, and the lease of the lock would expire."""
    monkeypatch.setattr(sign_in, "REFRESH_SECONDS", 0.2)
    order_token(flaw="brief", times=1)
    first = await SignIn().get_token_info(STORAGE)
    order_token(flaw="unavailable")
    assert (await SignIn().get_token_info(STORAGE)).token == first.token
    expire_tokens()
    with pytest.raises(RefreshFailedError, match="could not be renewed within"):
        await SignIn().get_token_info(STORAGE)


@pytest.mark.accounts("entra")
async def test_requests_do_not_wait_while_another_one_refreshes_the_token(
    order_token: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "REFRESH_SECONDS", 0.5)
    order_token(flaw="brief", times=1)
    first = await SignIn().get_token_info(STORAGE)
    order_token(flaw="unavailable")
    refreshing = asyncio.create_task(SignIn().get_token_info(STORAGE))
    await asyncio.sleep(0)  # it begins
    assert (await SignIn().get_token_info(STORAGE)).token == first.token
    assert not refreshing.done()
    assert (await refreshing).token == first.token


def expire_tokens() -> None:
    for key, old in TOKENS.items():
        token = AccessTokenInfo(old.token.token, int(datetime.now(UTC).timestamp()) - 1)
        TOKENS[key] = cached_token(token)


async def test_a_claims_challenge_gets_a_new_token(settings: dict[str, str]) -> None:
    assert settings
    first = await SignIn().get_token_info(STORAGE)
    assert (await SignIn().get_token_info(STORAGE, options={"claims": "{}"})).token != first.token


async def test_another_identity_does_not_get_a_cached_token(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings
    await SignIn().get_token_info(STORAGE)
    monkeypatch.setenv("AZURE_CLIENT_ID", "another")
    with pytest.raises(ClientAuthenticationError, match="AADSTS700016"):
        await SignIn().get_token_info(STORAGE)


async def test_the_settings_of_a_sign_in_can_be_in_an_env_file(
    settings: dict[str, str], tls_stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in settings:
        monkeypatch.setenv(name, "")  # so that it is restored after the test
        monkeypatch.delenv(name)
    monkeypatch.chdir(tls_stack.data)
    (tls_stack.data / ".env").symlink_to(tls_stack.data / "stack.env")
    async with batch_client() as batch:
        await anext(batch.list_pools(), None)
    (tls_stack.data / ".env").unlink()


def test_the_environment_takes_precedence_over_an_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "AZURE_TENANT_ID=file\nAZURE_CLIENT_ID=file\nPREFECT_HOME=file\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AZURE_TENANT_ID", "environment")
    monkeypatch.setenv("AZURE_CLIENT_ID", "")
    monkeypatch.delenv("AZURE_CLIENT_ID")
    export_sign_in_settings()
    assert os.environ["AZURE_TENANT_ID"] == "environment"
    assert os.environ["AZURE_CLIENT_ID"] == "file"
    assert os.environ["PREFECT_HOME"] != "file"
    assert "AZURE_CLIENT_SECRET" in SIGN_IN_SETTINGS
