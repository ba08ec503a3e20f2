"""The accounts from a Prefect block: filled in once in the UI, named in a run's parameters."""

from typing import ClassVar

from prefect.blocks.core import Block

from tasks.azure.settings import Accounts, load_accounts
from tasks.errors import SettingsError

EDIT = "Edit it in Prefect's UI, under Blocks."


class AzureAccounts(Block, Accounts):
    """A Batch and a storage account, as a block type of Prefect's."""

    _block_type_name: ClassVar[str | None] = "Azure accounts"
    _description: ClassVar[str | None] = (
        "The Batch and the storage account that runs convert with. Name this block in a run's"
        " parameter `run.account`. Without keys, Microsoft Entra ID signs in on the worker."
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
    """The accounts of the block of that name; without a name, those of the environment.

    Raises:
        SettingsError: there is no such block, or it is not filled in right.
    """
    return check_block(name, await load_block(name)) if name else load_accounts()


async def load_block(name: str) -> AzureAccounts:
    try:
        return await AzureAccounts.aload(name)
    except ValueError:  # its message may hold what the block holds
        raise SettingsError(
            f"Prefect has no block of the type Azure accounts that is named {name!r}.",
            "Register the type with `prefect block register -m tasks.azure.account_block`, and fill"
            " one in in Prefect's UI, under Blocks; or name none, to use the environment.",
        ) from None


def check_block(name: str, accounts: Accounts) -> Accounts:
    if accounts.missing:
        missing = " and ".join(accounts.missing)
        raise SettingsError(f"The block {name!r} is only half filled in: {missing} missing.", EDIT)
    if accounts.malformed:
        raise SettingsError(f"The block {name!r}: {' '.join(accounts.malformed)}", EDIT)
    return accounts
