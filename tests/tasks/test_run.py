from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from azure.batch import BatchClient
from records import NOW, a_conversion, a_plan, a_pool, a_request, a_ticket

from tasks.models import Check, Conversion
from tasks.parameters import Pool, Request, Run
from tasks.pool import make_pool
from tasks.preflight import NODES
from tasks.run import RunState, issue_ticket, settle_pool

CLIPS = [a_conversion(seconds=30)]
LECTURES = [a_conversion(seconds=36_000)]


async def settled(
    conversions: Sequence[Conversion], *, checks: tuple[Check, ...] = (), **values: Any
) -> RunState:
    """Return a run that knows its files and has decided on its pool."""
    request = Request(sources=["/library"], **values)
    ticket = issue_ticket(request, run_id="0" * 32, run_count=1, now=NOW)
    run = RunState(request=request, ticket=ticket, plan=a_plan(*conversions), checks=checks)
    await settle_pool(run)
    return run


async def test_runs_that_need_other_slots_have_another_warm_pool() -> None:
    warm = Pool(keep_warm_minutes=20)
    short, long = await settled(CLIPS, pool=warm), await settled(LECTURES, pool=warm)
    assert [run.request.pool.slots_per_node for run in (short, long)] == [8, 2]
    assert short.ticket.pool_id != long.ticket.pool_id
    again = await settled(CLIPS * 9, pool=warm.model_copy(update={"slots_per_node": 8}))
    assert again.ticket.pool_id == short.ticket.pool_id
    assert not any(run.ticket.owns_pool for run in (short, long, again))


@pytest.mark.parametrize(
    ("pool", "pool_id", "is_own"),
    [
        (Pool(), "convert-1-" + "0" * 32, True),
        (Pool(id="shared"), "shared", False),
        (Pool(keep_warm_minutes=20), "", False),
    ],
    ids=["own", "shared", "warm"],
)
def test_a_ticket_says_before_the_files_are_known_whether_the_run_ends_its_pool(
    pool: Pool,
    pool_id: str,
    is_own: bool,  # noqa: FBT001  pytest passes it by name
) -> None:
    ticket = issue_ticket(a_request(pool=pool), run_id="0" * 32, run_count=1, now=NOW)
    assert (ticket.pool_id, ticket.owns_pool) == (pool_id, is_own)
    assert ticket.deadline == NOW + timedelta(minutes=30)


async def test_a_run_uses_the_slots_that_the_shared_pool_has(batch: BatchClient) -> None:
    ticket = a_ticket()
    await make_pool.fn(ticket, a_pool(slots_per_node=3, spot_nodes=1), files=1)
    run = await settled(CLIPS, pool=Pool(id=ticket.pool_id))
    assert run.request.pool.slots_per_node == 3
    batch.begin_delete_pool(ticket.pool_id)


async def test_a_dry_run_does_not_ask_for_a_shared_pool_that_its_check_did_not_find() -> None:
    missing = (Check(NODES, "failed", "The pool 'nosuch' does not exist."),)
    run = await settled(CLIPS, pool=Pool(id="nosuch"), run=Run(dry_run=True), checks=missing)
    assert run.request.pool.slots_per_node == 8
