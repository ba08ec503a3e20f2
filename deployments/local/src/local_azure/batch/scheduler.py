"""Decisions as pure functions: placement of tasks, retries, and sizes of pools."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Fill = Literal["spread", "pack"]


@dataclass(kw_only=True)
class Room:
    """A node's free slots and all its slots."""

    node: str
    free: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Queue(Generic[T]):
    """A job's waiting tasks with the slots that each requires, oldest first."""

    priority: int
    serial: int
    tasks: Iterable[tuple[T, int]]
    limit: int | None = None
    """How many more tasks of the job can run now. None: no limit."""


def place(queues: Iterable[Queue[T]], rooms: Sequence[Room], fill: Fill) -> Iterator[tuple[T, str]]:
    """Yield pairs of task and node, by priority and age of the job.

    A task that does not fit holds back the rest of its job, but not other jobs.
    """
    rooms = [Room(node=r.node, free=r.free, total=r.total) for r in rooms if r.free > 0]
    for queue in sorted(queues, key=lambda queue: (-queue.priority, queue.serial)):
        left = queue.limit
        tasks = iter(queue.tasks)
        while any(room.free for room in rooms) and left != 0:
            task, slots = next(tasks, (None, 0))
            room = _room_for(slots, rooms, fill) if task is not None else None
            if task is None or room is None:
                break
            room.free -= slots
            left = None if left is None else left - 1
            yield task, room.node


def _room_for(slots: int, rooms: Sequence[Room], fill: Fill) -> Room | None:
    fitting = [room for room in rooms if room.free >= slots]
    if fill == "pack":
        return min(fitting, key=lambda room: room.free, default=None)
    return max(fitting, key=lambda room: room.free, default=None)


class Next(Enum):
    RETRY = auto()
    COMPLETE = auto()


def after_exit(*, exit_code: int | None, retries: int, max_retries: int) -> Next:
    """Retry an exit code other than 0. None: the process ended without an exit code."""
    again = exit_code not in (None, 0) and (max_retries == -1 or retries < max_retries)
    return Next.RETRY if again else Next.COMPLETE


def earliest(started: datetime, limit: timedelta) -> datetime | None:
    """Return when a run must end, or None if that is later than datetime can express."""
    try:
        return started + limit
    except OverflowError:
        return None


def uploads_on(condition: str, *, success: bool) -> bool:
    return condition in {"taskcompletion", "tasksuccess" if success else "taskfailure"}


@dataclass(frozen=True, kw_only=True)
class Resizing:
    """How many nodes of each kind a resize adds and removes, and its errors."""

    add_dedicated: int = 0
    add_spot: int = 0
    remove_dedicated: int = 0
    remove_spot: int = 0
    errors: tuple[str, ...] = field(default=())


def resize(*, dedicated: tuple[int, int], spot: tuple[int, int], quota_left: int) -> Resizing:
    """Return the resize from (current, target) of each kind of node, within the quota."""
    remove_dedicated = max(0, dedicated[0] - dedicated[1])
    remove_spot = max(0, spot[0] - spot[1])
    left = max(0, quota_left) + remove_dedicated + remove_spot
    want_dedicated, want_spot = max(0, dedicated[1] - dedicated[0]), max(0, spot[1] - spot[0])
    add_dedicated = min(want_dedicated, left)
    add_spot = min(want_spot, left - add_dedicated)
    errors = [
        *(["AccountCoreQuotaReached"] if add_dedicated < want_dedicated else []),
        *(["AccountSpotCoreQuotaReached"] if add_spot < want_spot else []),
    ]
    return Resizing(
        add_dedicated=add_dedicated,
        add_spot=add_spot,
        remove_dedicated=remove_dedicated,
        remove_spot=remove_spot,
        errors=tuple(errors),
    )
