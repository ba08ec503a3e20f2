"""The database of Prefect's server, without transactions that fail because of each other."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import set_database_config
from prefect.settings import get_current_settings
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


class QueuedSqlite(AioSqliteConfiguration):
    """SQLite whose transactions wait for each other from their beginning.

    Prefect begins most transactions as deferred. If another one writes after such a transaction has
    read, SQLite refuses its first write at once. The server then responds with 503, and its client
    pauses for two seconds.
    """

    @asynccontextmanager
    async def begin_transaction(
        self,
        session: AsyncSession,
        with_for_update: bool = False,  # noqa: ARG002, FBT001, FBT002  as Prefect declares it
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction


def queue_transactions() -> None:
    """Let the transactions of the server in this process wait for each other."""
    url = get_current_settings().server.database.connection_url
    if url is None:
        return
    set_database_config(QueuedSqlite(url.get_secret_value()))
