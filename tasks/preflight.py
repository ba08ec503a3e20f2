"""What is looked at before anything is made."""

from tasks.clients import batch_client


async def check_batch() -> None:
    """Ask the Batch account for next to nothing.

    Raises:
        AzureError: it cannot be reached, or refuses who asks.
    """
    async with batch_client() as batch:
        await anext(batch.list_pools(max_results=1), None)
