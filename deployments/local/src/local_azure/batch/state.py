"""The records of pools, nodes, jobs and tasks, with the allowed transitions of their states."""

import asyncio
import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from local_azure.batch.history import History
from local_azure.batch.run import Run
from local_azure.batch.scheduler import earliest
from local_azure.batch.specs import JobConstraints, JobSpec, PoolSpec, TaskConstraints, TaskSpec
from local_azure.batch.wire import new_etag

_serials = itertools.count(1)
TASK_COUNTS = ("active", "running", "completed", "succeeded", "failed")
MOST_RECENT_TASKS = 25
MOST_FAILURES = 10
MOST_LOSSES = 20


class PoolState(StrEnum):
    ACTIVE = "active"
    DELETING = "deleting"


class AllocationState(StrEnum):
    STEADY = "steady"
    RESIZING = "resizing"
    STOPPING = "stopping"


class NodeState(StrEnum):
    CREATING = "creating"
    STARTING = "starting"
    WAITING_FOR_START_TASK = "waitingforstarttask"
    START_TASK_FAILED = "starttaskfailed"
    IDLE = "idle"
    RUNNING = "running"
    REBOOTING = "rebooting"
    PREEMPTED = "preempted"
    UNUSABLE = "unusable"
    LEAVING_POOL = "leavingpool"


class JobState(StrEnum):
    ACTIVE = "active"
    DISABLING = "disabling"
    DISABLED = "disabled"
    TERMINATING = "terminating"
    COMPLETED = "completed"
    DELETING = "deleting"


class TaskState(StrEnum):
    ACTIVE = "active"
    RUNNING = "running"
    COMPLETED = "completed"


Transitions = Mapping[StrEnum, frozenset[StrEnum]]


def _transitions(table: Mapping[Any, AbstractSet[Any]]) -> Transitions:
    return {state: frozenset(following) for state, following in table.items()}


N, J, T, P, A = NodeState, JobState, TaskState, PoolState, AllocationState
POOL = _transitions({P.ACTIVE: {P.DELETING}, P.DELETING: set()})
ALLOCATION = _transitions(
    {
        A.STEADY: {A.RESIZING},
        A.RESIZING: {A.STEADY, A.STOPPING, A.RESIZING},
        A.STOPPING: {A.STEADY, A.RESIZING},
    }
)
_ANY_NODE_EVENT = {N.REBOOTING, N.PREEMPTED, N.UNUSABLE, N.LEAVING_POOL}
NODE = _transitions(
    {
        N.CREATING: {N.STARTING, N.UNUSABLE, N.LEAVING_POOL, N.PREEMPTED},
        N.STARTING: {N.WAITING_FOR_START_TASK, N.IDLE, *_ANY_NODE_EVENT},
        N.WAITING_FOR_START_TASK: {N.IDLE, N.START_TASK_FAILED, *_ANY_NODE_EVENT},
        N.START_TASK_FAILED: _ANY_NODE_EVENT,
        N.IDLE: {N.RUNNING, *_ANY_NODE_EVENT},
        N.RUNNING: {N.IDLE, *_ANY_NODE_EVENT},
        N.REBOOTING: {N.STARTING, N.UNUSABLE, N.LEAVING_POOL, N.PREEMPTED},
        N.PREEMPTED: {N.CREATING, N.UNUSABLE, N.LEAVING_POOL},
        N.UNUSABLE: {N.REBOOTING, N.LEAVING_POOL, N.PREEMPTED},
        N.LEAVING_POOL: set(),
    }
)
LOST = {N.PREEMPTED, N.UNUSABLE, N.START_TASK_FAILED}
JOB = _transitions(
    {
        J.ACTIVE: {J.DISABLING, J.TERMINATING, J.DELETING},
        J.DISABLING: {J.DISABLED, J.ACTIVE, J.TERMINATING, J.DELETING},
        J.DISABLED: {J.ACTIVE, J.DISABLING, J.TERMINATING, J.DELETING},
        J.TERMINATING: {J.COMPLETED, J.DELETING},
        J.COMPLETED: {J.DELETING},
        J.DELETING: set(),
    }
)
TASK = _transitions(
    {
        T.ACTIVE: {T.RUNNING, T.COMPLETED},
        T.RUNNING: {T.ACTIVE, T.COMPLETED},
        T.COMPLETED: {T.ACTIVE},
    }
)


class IllegalTransitionError(Exception):
    """A transition between states that is not allowed."""


@dataclass(kw_only=True, eq=False)
class Record:
    """The state, its history and the ETag of a pool, node, job or task."""

    transitions: ClassVar[Transitions]
    created: datetime
    state: StrEnum
    state_since: datetime = field(init=False)
    previous_state: StrEnum | None = None
    previous_since: datetime | None = None
    etag: str = field(default_factory=new_etag)
    modified: datetime = field(init=False)
    serial: int = field(default_factory=lambda: next(_serials))

    def __post_init__(self) -> None:
        self.state_since = self.modified = self.created

    def move(self, state: StrEnum, now: datetime) -> None:
        if state not in self.transitions[self.state]:
            raise IllegalTransitionError(f"{type(self).__name__}: {self.state} -> {state}")
        self.previous_state, self.previous_since = self.state, self.state_since
        self.state, self.state_since = state, now

    def touch(self, now: datetime) -> None:
        self.etag, self.modified = new_etag(), now


@dataclass(kw_only=True, eq=False)
class Task(Record):
    transitions = TASK
    spec: TaskSpec
    job: "Job"
    state: StrEnum = TaskState.ACTIVE
    run: Run = field(default_factory=Run)
    node: "Node | None" = None
    folder: Path | None = None
    has_begun: bool = False
    """Whether it has begun on its node: it may wait there for its start."""
    worker: "asyncio.Task[None] | None" = None
    nodes_lost: int = 0
    """How many nodes became unusable because the service failed while it ran the task."""

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def constraints(self) -> TaskConstraints:
        """Its own constraints, or the defaults with the retries of its job."""
        retries = self.job.constraints.max_task_retry_count
        return self.spec.constraints or TaskConstraints(maxTaskRetryCount=retries)

    @property
    def max_retries(self) -> int:
        return self.constraints.max_task_retry_count

    def move(self, state: StrEnum, now: datetime) -> None:
        self.job.count(self, -1)
        super().move(state, now)
        self.job.count(self, +1)
        self.job.note(self)


@dataclass(kw_only=True, eq=False)
class Job(Record):
    transitions = JOB
    spec: JobSpec
    state: StrEnum = JobState.ACTIVE
    tasks: dict[str, Task] = field(default_factory=dict)
    queue: "OrderedDict[str, Task]" = field(default_factory=OrderedDict)
    running: set[Task] = field(default_factory=set)
    counts: "Counter[str]" = field(default_factory=Counter)
    slot_counts: "Counter[str]" = field(default_factory=Counter)
    ended: datetime | None = None
    terminate_reason: str | None = None
    recent: deque[Task] = field(default_factory=lambda: deque(maxlen=MOST_RECENT_TASKS))
    failures: deque[Task] = field(default_factory=lambda: deque(maxlen=MOST_FAILURES))
    wall_clock: "asyncio.Task[None] | None" = None

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def constraints(self) -> JobConstraints:
        return self.spec.constraints or JobConstraints()

    @property
    def deadline(self) -> datetime | None:
        return earliest(self.created, self.constraints.max_wall_clock_time)

    def count(self, task: Task, step: int) -> None:
        names = [str(task.state)]
        if task.state is TaskState.COMPLETED:
            names.append("failed" if task.run.result == "failure" else "succeeded")
        for name in names:
            self.counts[name] += step
            self.slot_counts[name] += step * task.spec.required_slots

    def note(self, task: Task) -> None:
        """Keep the tasks that changed last: to search through all tasks would be slow."""
        self.recent.append(task)
        if task.state is TaskState.COMPLETED and task.run.result == "failure":
            self.failures.append(task)

    @property
    def pool_key(self) -> str:
        return self.spec.pool_info.pool_id.lower()

    def room(self) -> int | None:
        """Return how many more of its tasks can run now. None: no limit."""
        limit = self.spec.max_parallel_tasks
        return None if limit is None or limit < 0 else max(0, limit - len(self.running))

    def counted(self) -> dict[str, Any]:
        return {
            "taskCounts": {name: self.counts[name] for name in TASK_COUNTS},
            "taskSlotCounts": {name: self.slot_counts[name] for name in TASK_COUNTS},
        }

    @staticmethod
    def nothing_counted() -> dict[str, Any]:
        none = dict.fromkeys(TASK_COUNTS, 0)
        return {"taskCounts": none, "taskSlotCounts": none}

    def all_complete(self) -> bool:
        return self.counts["completed"] == len(self.tasks)


@dataclass(frozen=True)
class NodeLoss:
    """A node that was evicted or that failed, and the number of tasks that it ran."""

    node: str
    state: NodeState
    at: datetime
    tasks: int


@dataclass(kw_only=True, eq=False)
class Node(Record):
    transitions = NODE
    id: str
    pool: "Pool"
    folder: Path
    dedicated: bool
    slots: int
    state: StrEnum = NodeState.CREATING
    schedulable: bool = True
    tasks: set[Task] = field(default_factory=set)
    used_slots: int = 0
    booted: datetime | None = None
    start_run: Run | None = None
    start_state: str = "running"
    errors: list[dict[str, str]] = field(default_factory=list)
    tasks_run: int = 0
    tasks_succeeded: int = 0
    recent: list[Task] = field(default_factory=list)
    life: "asyncio.Task[None] | None" = None
    leaving: "asyncio.Task[None] | None" = None

    @property
    def free_slots(self) -> int:
        usable = self.state in {NodeState.IDLE, NodeState.RUNNING} and self.schedulable
        return self.slots - self.used_slots if usable else 0

    def move(self, state: StrEnum, now: datetime) -> None:
        super().move(state, now)
        if state in LOST:
            self.pool.losses.append(NodeLoss(self.id, NodeState(state), now, len(self.tasks)))


@dataclass(kw_only=True, eq=False)
class Pool(Record):
    transitions = POOL
    spec: PoolSpec
    state: StrEnum = PoolState.ACTIVE
    target_dedicated: int = 0
    target_spot: int = 0
    allocation: AllocationState = AllocationState.STEADY
    allocation_since: datetime = field(init=False)
    resize_errors: list[dict[str, Any]] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    formula: str | None = None
    interval: Any = None
    enabled: datetime | None = None
    """When autoscale was last enabled by a request."""
    evaluated: datetime | None = None
    """When a formula was last evaluated by a request."""
    auto_scale_run: dict[str, Any] | None = None
    resizing: "asyncio.Task[None] | None" = None
    scaling: "asyncio.Task[None] | None" = None
    sampling: "asyncio.Task[None] | None" = None
    history: History = field(default_factory=History)
    losses: deque[NodeLoss] = field(default_factory=lambda: deque(maxlen=MOST_LOSSES))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.allocation_since = self.created

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def slots_per_node(self) -> int:
        return self.spec.task_slots_per_node or 1

    def allocate(self, state: AllocationState, now: datetime) -> None:
        if state not in ALLOCATION[self.allocation]:
            raise IllegalTransitionError(f"Pool: {self.allocation} -> {state}")
        self.allocation, self.allocation_since = state, now

    def members(self, *, dedicated: bool) -> list[Node]:
        """Return the nodes of one kind that are not leaving the pool."""
        return [
            node
            for node in self.nodes.values()
            if node.dedicated is dedicated and node.state is not NodeState.LEAVING_POOL
        ]
