"""Whom clients trust."""

import ssl
from pathlib import Path

import aiohttp
import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.rest import HttpRequest

from stacks import LocalStack
from tasks.azure.transport import opened_transport, trusted, trusted_file
from tasks.media.probe import probe
from tasks.media.streams import UnreadableMedia


@pytest.fixture
def address(tls_stack: LocalStack) -> str:
    """Of a server whose certificate nobody else has signed."""
    return tls_stack.settings["AZURE_STORAGE_SERVICE_ENDPOINT"]


@pytest.fixture
def bundle(tls_stack: LocalStack) -> str:
    return tls_stack.settings["SSL_CERT_FILE"]


async def ask(address: str) -> int:
    async with opened_transport() as transport:
        return (await transport.send(HttpRequest("GET", address))).status_code


async def test_a_bundle_that_is_named_later_than_aiohttp_was_imported_is_trusted(
    address: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert aiohttp
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    assert await ask(address) < 500
    assert trusted_file() == bundle


async def test_a_server_that_nobody_vouches_for_is_not_spoken_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
        await ask(address)


async def test_a_netrc_has_nothing_to_say_beside_a_key_or_a_token(
    stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    request = HttpRequest("GET", stack.settings["AZURE_BATCH_ENDPOINT"])
    request.headers["Authorization"] = "Bearer ours"
    async with opened_transport() as transport:
        assert (await transport.send(request)).status_code < 500


async def test_a_proxy_that_the_environment_names_is_asked(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ServiceRequestError, match=r"proxy\.invalid:3128"):
        await ask(stack.settings["AZURE_BATCH_ENDPOINT"])


def test_whom_to_trust_is_read_once_as_long_as_it_does_not_change(
    bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    first = trusted()
    assert trusted() is first
    assert first.verify_mode == ssl.CERT_REQUIRED
    monkeypatch.delenv("SSL_CERT_FILE")
    assert trusted() is not first
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert trusted() is True  # whom aiohttp trusts


def test_there_is_a_file_to_trust_without_any_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert Path(trusted_file()).is_file()


def test_no_media_is_read_from_a_server_that_nobody_vouches_for(
    address: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(UnreadableMedia, match="Input/output error"):
        probe(f"{address}/library/a.mp4")
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with pytest.raises(UnreadableMedia, match=r"40\d"):
        probe(f"{address}/library/a.mp4")
