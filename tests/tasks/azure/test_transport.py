"""The HTTP transport and the certificates that it trusts."""

import ssl
from pathlib import Path

import aiohttp
import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.rest import HttpRequest

from local_azure.testing import LocalStack
from tasks.azure.transport import open_transport, tls_trust, trusted_file
from tasks.media.probe import probe
from tasks.media.streams import UnreadableMedia


@pytest.fixture
def address(tls_stack: LocalStack) -> str:
    """Return the address of a server with a private certificate."""
    return tls_stack.settings["AZURE_STORAGE_SERVICE_ENDPOINT"]


@pytest.fixture
def bundle(tls_stack: LocalStack) -> str:
    return tls_stack.settings["SSL_CERT_FILE"]


async def get_status(address: str) -> int:
    async with open_transport() as transport:
        return (await transport.send(HttpRequest("GET", address))).status_code


async def test_a_bundle_that_is_set_after_the_import_of_aiohttp_is_trusted(
    address: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert aiohttp
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    assert await get_status(address) < 500
    assert trusted_file() == bundle


async def test_a_server_with_an_untrusted_certificate_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
        await get_status(address)


async def test_a_netrc_file_does_not_replace_a_key_or_a_token(
    stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    request = HttpRequest("GET", stack.settings["AZURE_BATCH_ENDPOINT"])
    request.headers["Authorization"] = "Bearer token"
    async with open_transport() as transport:
        assert (await transport.send(request)).status_code < 500


async def test_a_proxy_in_the_environment_is_used(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ServiceRequestError, match=r"proxy\.invalid:3128"):
        await get_status(stack.settings["AZURE_BATCH_ENDPOINT"])


def test_certificates_are_read_again_only_after_a_change(
    bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    first = tls_trust()
    assert tls_trust() is first
    assert first.verify_mode == ssl.CERT_REQUIRED
    monkeypatch.delenv("SSL_CERT_FILE")
    assert tls_trust() is not first
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert tls_trust() is True  # the default of aiohttp


def test_there_is_a_file_of_certificates_without_any_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert Path(trusted_file()).is_file()


def test_media_is_not_read_from_a_server_with_an_untrusted_certificate(
    address: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(UnreadableMedia, match="Input/output error"):
        probe(f"{address}/library/a.mp4")
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with pytest.raises(UnreadableMedia, match=r"40\d"):
        probe(f"{address}/library/a.mp4")
