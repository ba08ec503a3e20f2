"""The accounts from the environment or a `.env` file, by the names that the Azure CLI uses."""

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from dotenv import dotenv_values
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.errors import SettingsError

ENV_FILE = ".env"
SETTINGS = {
    "batch_endpoint": "AZURE_BATCH_ENDPOINT",
    "batch_account": "AZURE_BATCH_ACCOUNT",
    "batch_key": "AZURE_BATCH_ACCESS_KEY",
    "batch_resource": "AZURE_BATCH_RESOURCE",
    "storage_connection_string": "AZURE_STORAGE_CONNECTION_STRING",
    "storage_account": "AZURE_STORAGE_ACCOUNT",
    "storage_endpoint": "AZURE_STORAGE_SERVICE_ENDPOINT",
    "storage_key": "AZURE_STORAGE_KEY",
}

SIGN_IN_SETTINGS = (
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_TENANT_ID",
    "AZURE_TOKEN_CREDENTIALS",
    "AZURE_USERNAME",
    "SSL_CERT_FILE",
)
"""The settings that azure-identity and Python's TLS read from the environment only."""


class Accounts(BaseModel):
    """A Batch account and a storage account. Without a key, Microsoft Entra ID signs in."""

    model_config = ConfigDict(frozen=True)

    batch_endpoint: str = Field(
        "", description="The Batch account's URL, `https://ACCOUNT.REGION.batch…`"
    )
    batch_account: str = Field("", description="The Batch account's name. Required with a key.")
    batch_key: SecretStr = Field(
        SecretStr(""), description="The Batch account's key. Empty: Microsoft Entra ID signs in."
    )
    batch_resource: str = Field(
        "",
        description="The resource that a sign-in requests a token for, such as"
        " `https://batch.CLOUD/`. Empty: the public cloud's.",
    )
    storage_connection_string: SecretStr = Field(
        SecretStr(""),
        description="The storage account as one string. Or fill in the fields below.",
    )
    storage_account: str = Field("", description="The storage account's name.")
    storage_endpoint: str = Field(
        "", description="The storage account's blob URL. Empty: the public cloud's."
    )
    storage_key: SecretStr = Field(
        SecretStr(""), description="The storage account's key. Empty: Microsoft Entra ID signs in."
    )

    @classmethod
    def display_name(cls, field: str) -> str:
        """Return the name by which users know a field."""
        return field.replace("_", " ").title()

    @property
    def missing(self) -> list[str]:
        """The display names of required fields that are empty."""
        missing = [] if self.batch_endpoint else [self.display_name("batch_endpoint")]
        if self.batch_key.get_secret_value() and not self.batch_account:
            missing.append(self.display_name("batch_account"))
        if self.storage_connection_string.get_secret_value():
            return missing
        account = self.display_name("storage_account")
        if self.storage_key.get_secret_value() or self.storage_endpoint:
            return missing if self.storage_account else [*missing, account]
        if not self.storage_account:
            missing.append(f"{self.display_name('storage_connection_string')} or {account}")
        return missing

    @property
    def malformed(self) -> list[str]:
        """A sentence about each malformed field."""
        faults = []
        if self.batch_endpoint and not self.batch_endpoint.startswith(("https://", "http://")):
            faults.append(f"{self.display_name('batch_endpoint')} must begin with https://.")
        faults += [
            f"{self.display_name(field)} is not a key: it must be Base64."
            for field in ("batch_key", "storage_key")
            if not is_base64(getattr(self, field).get_secret_value())
        ]
        connection = self.display_name("storage_connection_string")
        parts = parts_of(self.storage_connection_string.get_secret_value())
        if parts and ("AccountName" not in parts or "SharedAccessSignature" in parts):
            faults.append(
                f"{connection} must contain AccountName, and AccountKey instead of"
                " SharedAccessSignature."
            )
        if not is_base64(parts.get("AccountKey", "")):
            faults.append(f"The AccountKey in {connection} is not Base64.")
        return faults


class Environment(BaseSettings, Accounts):
    """The accounts in the environment or in `.env`."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=SETTINGS.__getitem__),
        env_file=ENV_FILE,
        extra="ignore",
        env_ignore_empty=True,
    )

    @classmethod
    def display_name(cls, field: str) -> str:
        return SETTINGS[field]

    @property
    def is_unset(self) -> bool:
        return not self.model_fields_set


def parts_of(connection_string: str) -> dict[str, str]:
    parts = (part.partition("=") for part in connection_string.split(";") if part)
    return {name: value for name, _, value in parts}


def is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True


_chosen: ContextVar[Accounts | None] = ContextVar("accounts", default=None)


@contextmanager
def using_accounts(accounts: Accounts) -> Iterator[None]:
    """Make `load_accounts` return these in the block and in all asyncio tasks that it starts."""
    token = _chosen.set(accounts)
    try:
        yield
    finally:
        _chosen.reset(token)


def load_accounts() -> Accounts:
    """Return the accounts that `using_accounts` has set, or those of the environment.

    Raises:
        SettingsError: A setting of the environment is missing or malformed.
    """
    export_sign_in_settings()
    return _chosen.get() or check_environment(Environment())


def export_sign_in_settings() -> None:
    """Copy the sign-in settings of `.env` to the environment, which takes precedence."""
    for name, value in dotenv_values(ENV_FILE).items():
        if name in SIGN_IN_SETTINGS and value:
            os.environ.setdefault(name, value)


def check_environment(accounts: Environment) -> Accounts:
    if accounts.is_unset:
        raise SettingsError(
            "No Azure account is configured.",
            "Set AZURE_BATCH_ENDPOINT and AZURE_STORAGE_CONNECTION_STRING (or"
            " AZURE_STORAGE_ACCOUNT), with keys or a sign-in, in the environment or in .env. To use"
            " an account on this machine, run `python -m local_azure --env-file .env`.",
        )
    if accounts.missing:
        raise SettingsError(
            f"The account's settings are incomplete. Missing: {' and '.join(accounts.missing)}.",
            "Set what is missing, or unset the other settings to convert on this machine.",
        )
    if accounts.malformed:
        raise SettingsError(
            " ".join(accounts.malformed), "Copy the value again from the Azure portal."
        )
    return accounts
