"""The accounts, from the environment or a `.env` file. Names are the Azure CLI's."""

import base64
import binascii

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.errors import SettingsError


class Accounts(BaseSettings):
    """A Batch and a storage account. Without a key, Microsoft Entra ID signs in."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    batch_endpoint: str = Field("", validation_alias="AZURE_BATCH_ENDPOINT")
    batch_account: str = Field("", validation_alias="AZURE_BATCH_ACCOUNT")
    batch_key: SecretStr = Field(SecretStr(""), validation_alias="AZURE_BATCH_ACCESS_KEY")
    storage_connection_string: SecretStr = Field(
        SecretStr(""), validation_alias="AZURE_STORAGE_CONNECTION_STRING"
    )
    storage_account: str = Field("", validation_alias="AZURE_STORAGE_ACCOUNT")
    storage_endpoint: str = Field("", validation_alias="AZURE_STORAGE_SERVICE_ENDPOINT")
    storage_key: SecretStr = Field(SecretStr(""), validation_alias="AZURE_STORAGE_KEY")

    @property
    def are_unset(self) -> bool:
        return not self.model_fields_set

    @property
    def missing(self) -> list[str]:
        """The settings that must be there beside those that are."""
        missing = [] if self.batch_endpoint else ["AZURE_BATCH_ENDPOINT"]
        if self.batch_key.get_secret_value() and not self.batch_account:
            missing.append("AZURE_BATCH_ACCOUNT")
        if self.storage_connection_string.get_secret_value():
            return missing
        if self.storage_key.get_secret_value() or self.storage_endpoint:
            return missing if self.storage_account else [*missing, "AZURE_STORAGE_ACCOUNT"]
        if not self.storage_account:
            missing.append("AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT")
        return missing

    @property
    def malformed(self) -> list[str]:
        """What is wrong with the settings that are there, each in a sentence."""
        faults = []
        if self.batch_endpoint and not self.batch_endpoint.startswith(("https://", "http://")):
            faults.append("AZURE_BATCH_ENDPOINT must begin with https://.")
        if not is_key(self.batch_key.get_secret_value()):
            faults.append("AZURE_BATCH_ACCESS_KEY is not a key: it must be base64.")
        if not is_key(self.storage_key.get_secret_value()):
            faults.append("AZURE_STORAGE_KEY is not a key: it must be base64.")
        parts = parts_of(self.storage_connection_string.get_secret_value())
        if parts and ("AccountName" not in parts or "SharedAccessSignature" in parts):
            faults.append("AZURE_STORAGE_CONNECTION_STRING must name AccountName, with AccountKey.")
        if not is_key(parts.get("AccountKey", "")):
            faults.append("The AccountKey in AZURE_STORAGE_CONNECTION_STRING is not base64.")
        return faults


def parts_of(connection_string: str) -> dict[str, str]:
    parts = (part.partition("=") for part in connection_string.split(";") if part)
    return {name: value for name, _, value in parts}


def is_key(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True


def load_accounts() -> Accounts:
    """Read the accounts.

    Raises:
        SettingsError: some settings are there, but not all that belong together, or one is wrong.
    """
    accounts = Accounts()
    if accounts.are_unset:
        raise SettingsError(
            "No Azure account is configured.",
            "Set AZURE_BATCH_ENDPOINT and AZURE_STORAGE_CONNECTION_STRING (or"
            " AZURE_STORAGE_ACCOUNT), with keys or a sign-in, in the environment or in .env; or run"
            " `python -m deployments.local --env-file .env` for an account on this machine.",
        )
    if accounts.missing:
        raise SettingsError(
            f"The account is only half configured: {' and '.join(accounts.missing)} missing.",
            "Set what is missing, or unset the rest to convert on this machine.",
        )
    if accounts.malformed:
        raise SettingsError(" ".join(accounts.malformed), "Copy it again from the Azure portal.")
    return accounts
