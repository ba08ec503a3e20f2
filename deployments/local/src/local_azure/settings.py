"""What clients need to use a stack, under the names that the Azure CLI and the SDKs know."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from local_azure.folder import DataFolder

if TYPE_CHECKING:
    from local_azure.certificate import Certificate
    from local_azure.directory import Directory

BATCH_ACCOUNT = "local"
STORAGE_ACCOUNT = "localstorage"
_CONNECTION, _ENDPOINT = "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_SERVICE_ENDPOINT"


@dataclass(frozen=True)
class Security:
    """What a stack over TLS has besides: its certificate, and a directory of who may sign in."""

    certificate: "Certificate"
    directory: "Directory"

    @classmethod
    def of(cls, folder: DataFolder) -> "Security":
        """The folder's own, made where it is missing; these imports take a fifth of a second."""
        from local_azure.certificate import make_certificate
        from local_azure.directory import Directory

        certificate = make_certificate(folder.path / "tls", now=datetime.now(UTC))
        return cls(certificate, Directory(secret=folder.key("sign-in")))


def with_keys(folder: DataFolder, *, batch_url: str, blob_url: str) -> dict[str, str]:
    """The accounts, with their keys."""
    storage_key = folder.key(STORAGE_ACCOUNT)
    return {
        "AZURE_BATCH_ENDPOINT": batch_url,
        "AZURE_BATCH_ACCOUNT": BATCH_ACCOUNT,
        "AZURE_BATCH_ACCESS_KEY": folder.key(BATCH_ACCOUNT),
        _CONNECTION: (
            f"DefaultEndpointsProtocol=http;AccountName={STORAGE_ACCOUNT};"
            f"AccountKey={storage_key};BlobEndpoint={blob_url}/{STORAGE_ACCOUNT};"
        ),
    }


def with_sign_in(security: Security, *, batch_url: str, blob_url: str) -> dict[str, str]:
    """The accounts without keys, who signs in to them, and whom to trust."""
    directory, bundle = security.directory, str(security.certificate.bundle)
    return {
        "AZURE_BATCH_ENDPOINT": batch_url,
        "AZURE_BATCH_ACCOUNT": BATCH_ACCOUNT,
        "AZURE_STORAGE_ACCOUNT": STORAGE_ACCOUNT,
        _ENDPOINT: f"{blob_url}/{STORAGE_ACCOUNT}",
        "AZURE_AUTHORITY_HOST": batch_url,
        "AZURE_TENANT_ID": directory.tenant,
        "AZURE_CLIENT_ID": directory.client,
        "AZURE_CLIENT_SECRET": directory.secret,
        "AZURE_SUBSCRIPTION_ID": directory.subscription,
        "AZURE_RESOURCE_MANAGER_ENDPOINT": batch_url,
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
    }


def ports(settings: dict[str, str]) -> tuple[int, int]:
    """Those of the Batch service and of Azurite."""
    by_key = settings.get(_CONNECTION, "").partition("BlobEndpoint=")[2]
    blob_url = settings.get(_ENDPOINT, by_key)
    return urlsplit(settings["AZURE_BATCH_ENDPOINT"]).port or 0, urlsplit(blob_url).port or 0
