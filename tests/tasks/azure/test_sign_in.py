"""The sign-in, against the token endpoint of a stack with TLS."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from azure.core.credentials import AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError

from local_azure.testing import LocalStack
from tasks.azure.clients import batch_client
from tasks.azure.settings import SIGN_IN_SETTINGS, export_sign_in_settings
from tasks.azure.sign_in import CACHE_TIME, MARGIN, TOKENS, CachedToken, SignIn

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


def cached(*, for_seconds: float) -> CachedToken:
    return CachedToken(AccessTokenInfo("token", int(NOW.timestamp() + for_seconds)), NOW)


def test_a_token_is_cached_for_some_minutes_and_not_until_its_expiry() -> None:
    assert cached(for_seconds=3600).is_fresh(NOW)
    assert not cached(for_seconds=3600).is_fresh(NOW + CACHE_TIME)
    assert not cached(for_seconds=MARGIN.total_seconds()).is_fresh(NOW)
    assert not cached(for_seconds=-1).is_fresh(NOW)


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
