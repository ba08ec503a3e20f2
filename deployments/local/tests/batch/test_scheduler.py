"""The scheduler's decisions, as properties."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from local_azure.batch.scheduler import (
    Fill,
    Next,
    Queue,
    Room,
    after_exit,
    earliest,
    place,
    resize,
    uploads_on,
)

Queues = list[Queue[tuple[int, int]]]
FILLS: st.SearchStrategy[Fill] = st.sampled_from(["spread", "pack"])
ROOMS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=5).map(
    lambda sizes: [
        Room(node=f"n{n}", free=min(free, total), total=total)
        for n, (free, total) in enumerate(sizes)
    ]
)
QUEUES = st.lists(
    st.tuples(
        st.integers(-2, 2),
        st.lists(st.integers(1, 4), max_size=8),
        st.none() | st.integers(0, 3),
    ),
    max_size=4,
).map(
    lambda jobs: [
        Queue(
            priority=priority,
            serial=n,
            tasks=[((n, k), slots) for k, slots in enumerate(sizes)],
            limit=limit,
        )
        for n, (priority, sizes, limit) in enumerate(jobs)
    ]
)


@given(QUEUES, ROOMS, FILLS)
def test_no_slot_is_overcommitted_and_no_task_placed_twice(
    queues: Queues, rooms: list[Room], fill: Fill
) -> None:
    slots = {task: size for queue in queues for task, size in queue.tasks}
    placed = list(place(queues, rooms, fill))
    assert len({task for task, _ in placed}) == len(placed)
    for room in rooms:
        assert sum(slots[task] for task, node in placed if node == room.node) <= room.free


@given(QUEUES, ROOMS, FILLS)
def test_a_job_runs_its_tasks_in_order_and_within_its_limit(
    queues: Queues, rooms: list[Room], fill: Fill
) -> None:
    placed = [task for task, _ in place(queues, rooms, fill)]
    for queue in queues:
        own = [task for task in placed if task[0] == queue.serial]
        assert own == [task for task, _ in queue.tasks][: len(own)]
        assert queue.limit is None or len(own) <= queue.limit


@given(QUEUES, ROOMS, FILLS)
def test_tasks_that_wait_do_not_fit_or_are_over_their_limit(
    queues: Queues, rooms: list[Room], fill: Fill
) -> None:
    free = {room.node: room.free for room in rooms}
    slots = {task: size for queue in queues for task, size in queue.tasks}
    started: dict[int, int] = {}
    for task, node in place(queues, rooms, fill):
        free[node] -= slots[task]
        started[task[0]] = started.get(task[0], 0) + 1
    for queue in queues:
        done = started.get(queue.serial, 0)
        rest = list(queue.tasks)[done:]
        if rest and done != queue.limit:
            assert all(left < rest[0][1] for left in free.values())


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), FILLS)
def test_the_job_with_the_higher_priority_runs_first(sizes: list[int], fill: Fill) -> None:
    low = Queue(priority=0, serial=1, tasks=[("low", 1)])
    high = Queue(priority=1, serial=2, tasks=[(f"high{n}", size) for n, size in enumerate(sizes)])
    placed = [task for task, _ in place([low, high], [Room(node="n", free=3, total=3)], fill)]
    assert placed[0] == "high0"


def test_spread_picks_the_emptiest_node_and_pack_the_fullest() -> None:
    rooms = [Room(node="full", free=1, total=4), Room(node="empty", free=4, total=4)]
    queue = Queue(priority=0, serial=1, tasks=[("t", 1)])
    assert list(place([queue], rooms, "spread")) == [("t", "empty")]
    assert list(place([queue], rooms, "pack")) == [("t", "full")]


@given(st.integers(0, 300), st.integers(0, 9), st.integers(-1, 9))
def test_only_an_exit_code_other_than_0_is_retried_up_to_the_limit(
    exit_code: int, retries: int, limit: int
) -> None:
    following = after_exit(exit_code=exit_code, retries=retries, max_retries=limit)
    expected = exit_code != 0 and (limit == -1 or retries < limit)
    assert (following is Next.RETRY) == expected
    unlaunched = after_exit(exit_code=None, retries=retries, max_retries=limit)
    assert unlaunched is Next.COMPLETE


COUNT = st.integers(0, 20)


@given(st.tuples(COUNT, COUNT), st.tuples(COUNT, COUNT), st.integers(-5, 20))
def test_a_resize_reaches_its_targets_within_the_quota(
    dedicated: tuple[int, int], spot: tuple[int, int], quota_left: int
) -> None:
    plan = resize(dedicated=dedicated, spot=spot, quota_left=quota_left)
    removed = plan.remove_dedicated + plan.remove_spot
    assert plan.add_dedicated + plan.add_spot <= max(0, quota_left) + removed
    after = dedicated[0] + plan.add_dedicated - plan.remove_dedicated
    assert (after == dedicated[1]) == ("AccountCoreQuotaReached" not in plan.errors)
    after = spot[0] + plan.add_spot - plan.remove_spot
    assert (after == spot[1]) == ("AccountSpotCoreQuotaReached" not in plan.errors)


def test_a_limit_beyond_the_latest_date_is_no_limit() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert earliest(now, timedelta(days=10_675_199)) is None
    assert earliest(now, timedelta(days=1)) == datetime(2026, 1, 2, tzinfo=UTC)


def test_uploads_follow_their_condition() -> None:
    assert uploads_on("taskcompletion", success=True)
    assert uploads_on("taskcompletion", success=False)
    assert uploads_on("tasksuccess", success=True)
    assert not uploads_on("tasksuccess", success=False)
    assert uploads_on("taskfailure", success=False)
    assert not uploads_on("taskfailure", success=True)


class Cluster(RuleBasedStateMachine):
    """Jobs and nodes that start, run, fail and end by the scheduler's decisions."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.waiting: list[int] = []
        self.running: dict[int, str] = {}
        self.done: set[int] = set()
        self.nodes: dict[str, int] = {}
        self.retries: dict[int, int] = {}

    @rule(size=st.integers(1, 3))
    def add_task(self, size: int) -> None:
        task = len(self.sizes)
        self.sizes[task] = size
        self.waiting.append(task)

    @rule(slots=st.integers(1, 4))
    def add_node(self, slots: int) -> None:
        self.nodes[f"n{len(self.nodes)}-{len(self.sizes)}-{slots}"] = slots

    @rule(fill=FILLS)
    def schedule(self, fill: Fill) -> None:
        rooms = [Room(node=n, free=s - self.used(n), total=s) for n, s in self.nodes.items()]
        queue = Queue(priority=0, serial=0, tasks=[(t, self.sizes[t]) for t in self.waiting])
        for task, node in place([queue], rooms, fill):
            assert task not in self.running
            self.waiting.remove(task)
            self.running[task] = node

    @precondition(lambda self: self.running)
    @rule(data=st.data(), exit_code=st.integers(0, 1))
    def exit(self, data: st.DataObject, exit_code: int) -> None:
        task = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[task]
        tried = self.retries.get(task, 0)
        if after_exit(exit_code=exit_code, retries=tried, max_retries=2) is Next.RETRY:
            self.retries[task] = tried + 1
            self.waiting.insert(0, task)
        else:
            self.done.add(task)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def lose_node(self, data: st.DataObject) -> None:
        lost = data.draw(st.sampled_from(sorted(self.nodes)))
        del self.nodes[lost]
        for task in [task for task, node in self.running.items() if node == lost]:
            del self.running[task]
            self.waiting.insert(0, task)

    def used(self, node: str) -> int:
        return sum(self.sizes[task] for task, place in self.running.items() if place == node)

    @invariant()
    def no_task_is_lost_or_in_two_places(self) -> None:
        everywhere = [*self.waiting, *self.running, *self.done]
        assert sorted(everywhere) == sorted(self.sizes)

    @invariant()
    def no_slot_is_overcommitted(self) -> None:
        assert all(self.used(node) <= slots for node, slots in self.nodes.items())


TestCluster = Cluster.TestCase
