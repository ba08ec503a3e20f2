"""The database of a Prefect server of our own."""

import asyncio
from pathlib import Path

from prefect.server.database import provide_database_interface
from prefect.server.database.dependencies import temporary_database_config
from sqlalchemy import text

from flows.cli.prefect_database import QueuedSqlite, queue_transactions

WRITERS = 8


async def test_transactions_that_read_before_they_write_wait_for_each_other(tmp_path: Path) -> None:
    database = QueuedSqlite(f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}")
    engine = await database.engine()

    async def run(statement: str, *more: str) -> int:
        async with await database.session(engine) as session, database.begin_transaction(session):
            found = await session.execute(text(statement))
            for each in more:
                await session.execute(text(each))
            return int(found.scalar_one()) if found.returns_rows else 0

    await run("create table counter (n integer)", "insert into counter values (0)")
    count_one = ("select n from counter", "update counter set n = n + 1")
    seen = await asyncio.gather(*(run(*count_one) for _ in range(WRITERS)))
    assert sorted(seen) == list(range(WRITERS))


def test_the_server_of_this_process_uses_the_database_whose_transactions_wait() -> None:
    with temporary_database_config(None):
        queue_transactions()
        assert isinstance(provide_database_interface().database_config, QueuedSqlite)
