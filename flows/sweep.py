"""Delete what killed runs left behind.

python flows/sweep.py [--delete]
"""

if __name__ == "__main__":  # as in convert.py
    from flows.cli.startup import run_sweep

    run_sweep()

from datetime import UTC, datetime

from azure.core.exceptions import AzureError
from prefect import flow

from tasks.azure.account_block import named_accounts
from tasks.azure.error_wording import explain
from tasks.azure.settings import using_accounts
from tasks.leftovers import Leftover, delete_leftovers, find_leftovers
from tasks.parameter_types import BlockName, ContainerName
from tasks.parameters import Cleanup
from tasks.results.events import announce_sweep


@flow(name="sweep", persist_result=False)
async def sweep(
    dry_run: bool = True,  # noqa: FBT001, FBT002  a switch in Prefect's form
    container: ContainerName = Cleanup().container,
    account: BlockName = "",
) -> tuple[Leftover, ...]:
    """Delete the pools, jobs and uploads that killed runs left behind.

    They have this project's tag, the deadline of their run has passed, and no run holds the lock.
    The flow returns what it deleted or, in a dry run, what it would delete.

    Args:
        dry_run: Only list what would be deleted.
        container: The blob container of the runs' uploads.
        account: A Prefect block of type Azure accounts to take the accounts from. Empty: the
            environment.
    """
    with using_accounts(await named_accounts(account)):
        try:
            leftovers = await find_leftovers(container, now=datetime.now(UTC))
            if dry_run:
                return leftovers
            deleted = await delete_leftovers(container, leftovers)
        except AzureError as error:
            raise explain(error) from error
    announce_sweep(deleted, container)
    return deleted
