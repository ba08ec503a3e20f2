"""The accounts from a Prefect block, which is filled in once and named in a run's parameters."""

from typing import ClassVar

from prefect.blocks.core import Block

from tasks.azure.settings import Accounts, load_accounts
from tasks.errors import SettingsError

EDIT = "Edit the block in Prefect's UI, under Blocks."


class AzureAccounts(Block, Accounts):
    """A Batch account and a storage account as a Prefect block type."""

    _block_type_name: ClassVar[str | None] = "Azure accounts"
    _description: ClassVar[str | None] = (
        "The Batch account and the storage account that runs use. Name this block in a run's"
        " parameter `run.account`. Without keys, the worker signs in with Microsoft Entra ID."
    )
    _code_example: ClassVar[str | None] = """
        ```python
        import asyncio
        from flows.convert import convert
        from tasks.parameters import Run

        asyncio.run(convert(["talks"], run=Run(account="BLOCK_NAME")))
        ```
        """


async def named_accounts(name: str) -> Accounts:
    """Return the accounts of the named block, or of the environment if the name is empty.

    Raises:
        SettingsError: The block does not exist, is incomplete or is malformed.
    """
    return check_block(name, await load_block(name)) if name else load_accounts()


async def load_block(name: str) -> AzureAccounts:
    try:
        return await AzureAccounts.aload(name)
    except ValueError:  # its message may contain the block's secrets
        raise SettingsError(
            f"Prefect has no block of the type Azure accounts named {name!r}.",
            "Register the type with `prefect block register -m tasks.azure.account_block`. Then"
            " create the block in Prefect's UI, under Blocks. Or leave run.account empty to use the"
            " accounts of the environment.",
        ) from None


def check_block(name: str, accounts: Accounts) -> Accounts:
    if accounts.missing:
        missing = " and ".join(accounts.missing)
        raise SettingsError(f"The block {name!r} is incomplete. Missing: {missing}.", EDIT)
    if accounts.malformed:
        raise SettingsError(f"The block {name!r}: {' '.join(accounts.malformed)}", EDIT)
    return accounts
