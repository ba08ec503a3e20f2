"""The timeline of a run: its nodes, and how busy they were."""

from records import NOW, a_node, a_task_on_node, a_ticket, a_timeline, at

from tasks.results.timeline import Record, build_timeline


def test_in_a_shared_pool_only_nodes_that_ran_its_batch_tasks_belong_to_the_run() -> None:
    ticket = a_ticket(now=NOW, owns_pool=False)
    nodes = [a_node("n", allocated_at=at(-3600)), a_node("other")]
    record = Record(nodes=nodes, batch_results=[a_task_on_node("a", 52, 70)])
    found = build_timeline(record, ticket=ticket, slots=2, now=at(100))
    assert [(lane.node, lane.start) for lane in found.lanes] == [("n", 0)]


def test_a_run_without_nodes_has_no_shares() -> None:
    found = a_timeline()
    assert (found.converting_share, found.slot_share, found.path) == (None, None, ())
