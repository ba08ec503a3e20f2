"""The accounts, from the environment or a `.env` file. Names are the Azure CLI's."""

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

HANDED_ON = (
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
"""What azure-identity and Python's TLS read from the environment only."""


class Accounts(BaseModel):
    """A Batch and a storage account. Without a key, Microsoft Entra ID signs in."""

    model_config = ConfigDict(frozen=True)

    batch_endpoint: str = Field(
        "", description="The Batch account's URL, https://ACCOUNT.REGION.batch…"
    )
    batch_account: str = Field("", description="The Batch account's name; needed with a key.")
    batch_key: SecretStr = Field(
        SecretStr(""), description="The Batch account's key. Empty: Microsoft Entra ID signs in."
    )
    batch_resource: str = Field(
        "",
        description="What a sign-in asks a token for, such as https://batch.CLOUD/, where it is"
        " not the public cloud's.",
    )
    storage_connection_string: SecretStr = Field(
        SecretStr(""),
        description="The storage account, as one string; or fill in the fields below.",
    )
    storage_account: str = Field("", description="The storage account's name.")
    storage_endpoint: str = Field(
        "", description="The storage account's blob URL, where it is not the public cloud's."
    )
    storage_key: SecretStr = Field(
        SecretStr(""), description="The storage account's key. Empty: Microsoft Entra ID signs in."
    )

    @classmethod
    def called(cls, field: str) -> str:
        """What people know a field by."""
        return field.replace("_", " ").title()

    @property
    def missing(self) -> list[str]:
        """The fields that must be filled in beside those that are."""
        missing = [] if self.batch_endpoint else [self.called("batch_endpoint")]
        if self.batch_key.get_secret_value() and not self.batch_account:
            missing.append(self.called("batch_account"))
        if self.storage_connection_string.get_secret_value():
            return missing
        account = self.called("storage_account")
        if self.storage_key.get_secret_value() or self.storage_endpoint:
            return missing if self.storage_account else [*missing, account]
        if not self.storage_account:
            missing.append(f"{self.called('storage_connection_string')} or {account}")
        return missing

    @property
    def malformed(self) -> list[str]:
        """What is wrong with the fields that are filled in, each in a sentence."""
        faults = []
        if self.batch_endpoint and not self.batch_endpoint.startswith(("https://", "http://")):
            faults.append(f"{self.called('batch_endpoint')} must begin with https://.")
        faults += [
            f"{self.called(field)} is not a key: it must be base64."
            for field in ("batch_key", "storage_key")
            if not is_key(getattr(self, field).get_secret_value())
        ]
        connection = self.called("storage_connection_string")
        parts = parts_of(self.storage_connection_string.get_secret_value())
        if parts and ("AccountName" not in parts or "SharedAccessSignature" in parts):
            faults.append(f"{connection} must name AccountName, with AccountKey.")
        if not is_key(parts.get("AccountKey", "")):
            faults.append(f"The AccountKey in {connection} is not base64.")
        return faults


class Environment(BaseSettings, Accounts):
    """The accounts that the environment or `.env` name."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=SETTINGS.__getitem__),
        env_file=ENV_FILE,
        extra="ignore",
        env_ignore_empty=True,
    )

    @classmethod
    def called(cls, field: str) -> str:
        return SETTINGS[field]

    @property
    def is_unset(self) -> bool:
        return not self.model_fields_set


def parts_of(connection_string: str) -> dict[str, str]:
    parts = (part.partition("=") for part in connection_string.split(";") if part)
    return {name: value for name, _, value in parts}


def is_key(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True


_chosen: ContextVar[Accounts | None] = ContextVar("accounts", default=None)


@contextmanager
def using(accounts: Accounts) -> Iterator[None]:
    """Let `load_accounts` give these in the block, and in all asyncio tasks that it starts."""
    token = _chosen.set(accounts)
    try:
        yield
    finally:
        _chosen.reset(token)


def load_accounts() -> Accounts:
    """The accounts that the run uses; outside of one, those of the environment.

    Raises:
        SettingsError: some settings are there, but not all that belong together, or one is wrong.
    """
    hand_on_env_file()
    return _chosen.get() or check_environment(Environment())


def hand_on_env_file() -> None:
    """Put what `.env` says of the sign-in into the environment, which comes first here too."""
    for name, value in dotenv_values(ENV_FILE).items():
        if name in HANDED_ON and value:
            os.environ.setdefault(name, value)


def check_environment(accounts: Environment) -> Accounts:
    if accounts.is_unset:
        raise SettingsError(
            "No Azure account is configured.",
            "Set AZURE_BATCH_ENDPOINT and AZURE_STORAGE_CONNECTION_STRING (or"
            " AZURE_STORAGE_ACCOUNT), with keys or a sign-in, in the environment or in .env; or run"
            " `python -m local_azure --env-file .env` for an account on this machine.",
        )
    if accounts.missing:
        raise SettingsError(
            f"The account is only half configured: {' and '.join(accounts.missing)} missing.",
            "Set what is missing, or unset the rest to convert on this machine.",
        )
    if accounts.malformed:
        raise SettingsError(" ".join(accounts.malformed), "Copy it again from the Azure portal.")
    return accounts
