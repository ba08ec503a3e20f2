"""The access of nodes to blobs."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient

from tasks.azure.clients import blob_service
from tasks.azure.sas import (
    CLOCK_SKEW,
    DELEGATIONS,
    LONGEST_DELEGATION,
    IdentityAccess,
    Signer,
    make_signer,
    read_access,
)
from tasks.parameters import Limits

IDENTITY = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity"
    "/userAssignedIdentities/nodes"
)


async def a_signer(until: datetime | None = None) -> Signer:
    async with blob_service() as service:
        return await make_signer(service, until=until or datetime.now(UTC) + timedelta(minutes=1))


@pytest.mark.accounts("key", "entra")
async def test_a_blob_url_can_read_one_blob_and_cannot_write_it(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    name = "talks/it's é #1?%.mp4"
    container.upload_blob(name, b"media")
    container.upload_blob("other", b"media")
    url = (await a_signer()).blob_url(containers[0], name)
    with BlobClient.from_blob_url(url) as blob:
        assert blob.download_blob().readall() == b"media"
        with pytest.raises(HttpResponseError):
            blob.upload_blob(b"more", overwrite=True)
    _, _, token = url.partition("?")
    other = f"{container.url}/other?{token}"
    with BlobClient.from_blob_url(other) as blob, pytest.raises(HttpResponseError):
        blob.download_blob()


@pytest.mark.accounts("key", "entra")
async def test_an_upload_url_can_write_one_blob_and_neither_read_nor_delete_it_nor_write_others(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    name = "talks/it's é #1?%.mp3"
    url = (await a_signer()).upload_url(containers[0], name)
    with ContainerClient.from_container_url(url) as client:
        for content in (b"first attempt", b"second attempt"):
            client.upload_blob(name, content, overwrite=True, metadata={"convertkey": "k"})
        refused: list[Callable[[], object]] = [
            lambda: client.upload_blob("other", b"media", overwrite=True),
            lambda: client.upload_blob(f"{name}/inside", b"media", overwrite=True),
            lambda: client.download_blob(name),
            lambda: client.delete_blob(name),
            lambda: list(client.list_blob_names()),
        ]
        for request in refused:
            with pytest.raises(HttpResponseError):
                request()
    assert list(container.list_blob_names()) == [name]
    assert container.download_blob(name).readall() == b"second attempt"


@pytest.mark.accounts("key", "entra")
async def test_a_container_url_can_write_blobs_and_can_neither_read_nor_list_them(
    blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    url = (await a_signer()).container_url(containers[0])
    with ContainerClient.from_container_url(url) as client:
        client.upload_blob("a.mp3", b"media", overwrite=True)
        with pytest.raises(HttpResponseError):
            client.download_blob("a.mp3")
        with pytest.raises(HttpResponseError):
            list(client.list_blob_names())
    assert list(container.list_blob_names()) == ["a.mp3"]


@pytest.mark.accounts("key", "entra")
async def test_a_signer_does_not_show_its_key(account: dict[str, str]) -> None:
    assert account
    signer = await a_signer()
    secret = signer.key or (signer.delegation and signer.delegation.value)
    assert secret
    assert secret not in repr(signer)


@pytest.fixture
def no_key_yet(account: dict[str, str]) -> None:
    """Forget the delegation keys of earlier tests."""
    assert account
    DELEGATIONS.clear()


@pytest.mark.accounts("entra")
@pytest.mark.usefixtures("no_key_yet")
async def test_all_waves_of_a_run_share_a_delegation_key_and_other_runs_have_others() -> None:
    until = datetime.now(UTC) + timedelta(minutes=45)
    first, second = await a_signer(until), await a_signer(until)
    assert first.delegation is second.delegation
    other = await a_signer(until + timedelta(seconds=1))
    assert other.delegation is not first.delegation


@pytest.mark.accounts("entra")
@pytest.mark.usefixtures("no_key_yet")
async def test_a_token_expires_with_its_delegation_key_which_starts_in_the_past() -> None:
    now = datetime.now(UTC)
    signer = await a_signer(now + timedelta(minutes=45))
    query = parse_qs(urlsplit(signer.blob_url("input", "a")).query)
    expiry, ends, begins = (datetime.fromisoformat(query[name][0]) for name in ("se", "ske", "skt"))
    assert expiry <= ends
    assert now - CLOCK_SKEW - timedelta(seconds=2) <= begins <= now


@pytest.mark.accounts("entra")
@pytest.mark.usefixtures("no_key_yet")
async def test_the_longest_deadline_has_a_delegation_key() -> None:
    (most,) = (
        rule.le for rule in Limits.model_fields["deadline_minutes"].metadata if hasattr(rule, "le")
    )
    whole = timedelta(minutes=most) + 2 * CLOCK_SKEW
    assert whole < LONGEST_DELEGATION
    await a_signer(datetime.now(UTC) + timedelta(minutes=most) + CLOCK_SKEW)


@pytest.mark.usefixtures("account")
async def test_a_managed_identity_reads_by_urls_without_tokens() -> None:
    signer = await a_signer()
    access = read_access(signer, IDENTITY)
    assert isinstance(access, IdentityAccess)
    assert access.identity == {"identityReference": {"resourceId": IDENTITY}}
    assert access.blob_url("input", "a b#.mp4") == f"{signer.endpoint}/input/a%20b%23.mp4"
    assert read_access(signer, "") is signer
    assert not signer.identity


@pytest.mark.accounts("entra")
@pytest.mark.usefixtures("no_key_yet")
async def test_a_token_for_more_than_a_week_expires_with_its_key() -> None:
    now = datetime.now(UTC)
    signer = await a_signer(now + timedelta(days=30))
    assert signer.delegation
    assert signer.until == datetime.fromisoformat(str(signer.delegation.signed_expiry))
    assert signer.until - now < LONGEST_DELEGATION
