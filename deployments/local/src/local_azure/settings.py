"""The settings of a stack's clients, by the names that the Azure CLI and the SDKs use."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from local_azure.folder import DataFolder
from local_azure.page_link import page_link

if TYPE_CHECKING:
    from local_azure.certificate import Certificate
    from local_azure.directory import Directory

BATCH_ACCOUNT = "local"
STORAGE_ACCOUNT = "localstorage"
_CONNECTION, _ENDPOINT = "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_SERVICE_ENDPOINT"
_PAGE = "LOCAL_AZURE_PAGE"


@dataclass(frozen=True)
class Security:
    """The certificate of a stack with TLS, and the directory of those who can sign in."""

    certificate: "Certificate"
    directory: "Directory"

    @classmethod
    def of(cls, folder: DataFolder) -> "Security":
        """Return those of the data folder. Make what is missing. The imports take 0.2 s."""
        from local_azure.certificate import make_certificate
        from local_azure.directory import Directory

        certificate = make_certificate(folder.path / "tls", now=datetime.now(UTC))
        return cls(certificate, Directory(secret=folder.key("sign-in")))


def with_keys(folder: DataFolder, *, batch_url: str, blob_url: str | None) -> dict[str, str]:
    """Return the settings of accounts with keys. Without a `blob_url`, there is no storage."""
    key = folder.key(BATCH_ACCOUNT)
    settings = {
        "AZURE_BATCH_ENDPOINT": batch_url,
        "AZURE_BATCH_ACCOUNT": BATCH_ACCOUNT,
        "AZURE_BATCH_ACCESS_KEY": key,
    }
    if blob_url is not None:
        storage_key = folder.key(STORAGE_ACCOUNT)
        settings[_CONNECTION] = (
            f"DefaultEndpointsProtocol=http;AccountName={STORAGE_ACCOUNT};"
            f"AccountKey={storage_key};BlobEndpoint={blob_url}/{STORAGE_ACCOUNT};"
        )
    return settings | {_PAGE: page_link(batch_url, key)}


def with_sign_in(
    folder: DataFolder, security: Security, *, batch_url: str, blob_url: str | None
) -> dict[str, str]:
    """Return the settings of accounts without keys, of the sign-in and of the certificate."""
    directory, bundle = security.directory, str(security.certificate.bundle)
    storage = {"AZURE_STORAGE_ACCOUNT": STORAGE_ACCOUNT, _ENDPOINT: f"{blob_url}/{STORAGE_ACCOUNT}"}
    return {
        "AZURE_BATCH_ENDPOINT": batch_url,
        "AZURE_BATCH_ACCOUNT": BATCH_ACCOUNT,
        **(storage if blob_url is not None else {}),
        "AZURE_AUTHORITY_HOST": batch_url,
        "AZURE_TENANT_ID": directory.tenant,
        "AZURE_CLIENT_ID": directory.client,
        "AZURE_CLIENT_SECRET": directory.secret,
        "AZURE_SUBSCRIPTION_ID": directory.subscription,
        "AZURE_RESOURCE_MANAGER_ENDPOINT": batch_url,
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": bundle,
        _PAGE: page_link(batch_url, folder.key(BATCH_ACCOUNT)),
    }


def ports(settings: dict[str, str]) -> list[int]:
    """Return the ports of the Batch service and, if there is storage, of Azurite."""
    by_key = settings.get(_CONNECTION, "").partition("BlobEndpoint=")[2]
    blob_url = settings.get(_ENDPOINT, by_key)
    return [urlsplit(url).port or 0 for url in (settings["AZURE_BATCH_ENDPOINT"], blob_url) if url]
