"""The records of a pool's nodes, from one look to the next."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from azure.batch import BatchClient
from records import NOW, a_pool, a_ticket

from tasks.azure.clients import batch_client
from tasks.azure.nodes import ListedNode, Roster, observe
from tasks.models import NodeLife, Span
from tasks.pool import make_pool


def at(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


START = Span("start task", at(30), at(40))
IDLE = ListedNode("n", "spot", "idle", since=at(41), allocated_at=at(0), start_task=START)
EVICTED = replace(IDLE, state="preempted", since=at(90))


def seen(*looks: tuple[float, list[ListedNode]]) -> dict[str, NodeLife]:
    nodes: dict[str, NodeLife] = {}
    for seconds, listed in looks:
        nodes = observe(nodes, listed, now=at(seconds))
    return nodes


def test_a_node_that_is_seen_late_has_its_boot_and_its_start_task() -> None:
    (node,) = seen((100, [replace(IDLE, state="running", since=at(60))])).values()
    assert (node.allocated_at, node.start_tasks, node.ready_at) == (at(0), (START,), at(60))
    assert (node.seen_at, node.gone_at, node.outages) == (at(100), None, ())


def test_a_running_start_task_is_recorded_once_with_its_end() -> None:
    begun = replace(IDLE, state="waitingforstarttask", start_task=replace(START, ended_at=None))
    (node,) = seen((35, [begun]), (50, [IDLE]), (60, [IDLE])).values()
    assert node.start_tasks == (START,)


def test_an_evicted_node_is_out_until_its_next_start() -> None:
    (node,) = seen((50, [IDLE]), (95, [EVICTED]), (100, [EVICTED])).values()
    assert node.outages == (Span("evicted", at(90), None),)
    again = Span("start task", at(130), at(140))
    back = replace(IDLE, since=at(141), start_task=again)
    (node,) = seen((50, [IDLE]), (95, [EVICTED]), (150, [back])).values()
    assert node.outages == (Span("evicted", at(90), at(130)),)
    assert node.start_tasks == (START, again)


def test_a_reboot_ends_an_outage() -> None:
    starting = replace(IDLE, state="starting", since=at(120))
    (node,) = seen((95, [EVICTED]), (125, [starting])).values()
    assert node.outages == (Span("evicted", at(90), at(120)),)


def test_a_node_whose_start_task_failed_is_unusable_until_it_is_evicted() -> None:
    failed = replace(IDLE, state="starttaskfailed", since=at(40))
    (node,) = seen((50, [failed]), (60, [failed]), (95, [EVICTED])).values()
    assert node.outages == (Span("unusable", at(40), at(90)), Span("evicted", at(90), None))


def test_a_node_is_gone_from_the_first_look_without_it() -> None:
    nodes = seen((50, [IDLE]), (60, []), (70, []))
    assert (nodes["n"].seen_at, nodes["n"].gone_at) == (at(50), at(60))


def test_a_node_that_comes_back_under_the_same_id_was_evicted() -> None:
    back = replace(IDLE, state="starting", since=at(80))
    nodes = seen((50, [IDLE]), (60, []), (85, [back]))
    assert nodes["n"].gone_at is None
    assert nodes["n"].outages == (Span("evicted", at(60), at(80)),)


def test_looks_become_rarer_during_a_run() -> None:
    roster = Roster()
    looks = 0
    for second in range(3600):
        if roster.is_due(elapsed_seconds=second):
            roster.schedule_next_look(elapsed_seconds=second)
            looks += 1
        if second == 60:
            assert looks <= 10
    assert looks <= 75


async def test_a_look_lists_the_nodes_of_a_pool(
    account: dict[str, str], batch: BatchClient
) -> None:
    assert account
    ticket = a_ticket()
    await make_pool.fn(ticket, a_pool(spot_nodes=1), files=1)
    roster = Roster()
    async with batch_client() as client:
        while not (roster.nodes and roster.nodes[0].ready_at):
            await roster.look(client, ticket.pool_id, now=NOW)
    batch.begin_delete_pool(ticket.pool_id)
    (node,) = roster.nodes
    assert node.kind == "spot"
    (start,) = node.start_tasks
    assert start.ended_at
    assert node.allocated_at <= start.started_at <= start.ended_at <= node.ready_at
