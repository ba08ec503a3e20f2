"""The accounts, from the environment or a `.env` file. Names are the Azure CLI's."""

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


def load_accounts() -> Accounts:
    """Read the accounts.

    Raises:
        SettingsError: some settings are there, but not all that belong together.
    """
    accounts = Accounts()
    if accounts.are_unset:
        raise SettingsError(
            "No Azure account is configured.",
            "Set AZURE_BATCH_ENDPOINT and AZURE_STORAGE_CONNECTION_STRING (or"
            " AZURE_STORAGE_ACCOUNT), with keys or a sign-in, in the environment or in .env.",
        )
    if accounts.missing:
        raise SettingsError(
            f"The account is only half configured: {' and '.join(accounts.missing)} missing.",
            "Set what is missing, or unset the rest to convert on this machine.",
        )
    return accounts
