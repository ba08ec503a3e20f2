"""The faults that are in force, and when each of them happens.

Faults are checked in the order in which they came.
"""

import asyncio
import fnmatch
import random
from datetime import timedelta
from typing import Any, TypeVar

from local_azure.batch.fault_kinds import (
    Boot,
    CoreQuota,
    DownloadFailure,
    Drop,
    Eviction,
    Order,
    Refusal,
    ResizeFailure,
    SchedulingDelay,
    SizeWithdrawal,
    Skew,
    StartTaskFailure,
    StrikingOrder,
    TokenFault,
    UploadFailure,
)
from local_azure.batch.run import Failure
from local_azure.batch.state import Node, Pool, Task

Kind = TypeVar("Kind", bound=StrikingOrder)


class Standing:
    """An order in force, how often it can still happen, and the nodes that it has picked."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.left = order.times if isinstance(order, StrikingOrder) else None
        self.nodes: set[str] = set()


class Faults:
    def __init__(self) -> None:
        self.cleared = asyncio.Event()
        self._standing: list[Standing] = []
        self._random = random.Random()  # noqa: S311  reproducible on purpose

    @property
    def skew(self) -> timedelta:
        """By how much the clock that checks the age of requests is wrong."""
        seconds = [o.seconds for o in self._orders() if isinstance(o, Skew)]
        return timedelta(seconds=seconds[-1] if seconds else 0)

    def add(self, order: Order) -> None:
        self._standing.append(Standing(order))

    def replace(self, order: Order) -> None:
        """Add an order in place of the others of its kind."""
        others = [each for each in self._standing if type(each.order) is not type(order)]
        self._standing = [*others, Standing(order)]

    def seed(self, number: int) -> None:
        self._random.seed(number)

    def clear(self) -> None:
        self._standing.clear()
        self.cleared.set()
        self.cleared = asyncio.Event()

    def listing(self) -> list[dict[str, Any]]:
        return [order.wire() for order in self._orders()]

    def in_force(self) -> list[dict[str, Any]]:
        """Return the orders as they came, each with how often it can still happen."""
        return [
            {"order": each.order.model_dump(by_alias=True, exclude_unset=True), "left": each.left}
            for each in self._standing
        ]

    def _orders(self) -> list[Order]:
        return [standing.order for standing in self._standing]

    def _strike(self, sort: type[Kind], /, **matching: str) -> Kind | None:
        """Return the first order of the kind that matches and happens now; count it."""
        for standing in self._standing:
            if isinstance(standing.order, sort) and fits(standing.order, matching):
                chance = standing.order.chance
                if chance is None or self._random.random() < chance:
                    self._count(standing)
                    return standing.order
        return None

    def _count(self, standing: Standing) -> None:
        if standing.left is not None:
            standing.left -= 1
            if standing.left == 0:
                self._standing.remove(standing)

    def refusal(self, operation: str) -> Refusal | None:
        return self._strike(Refusal, operation=operation)

    def drop(self, operation: str) -> Drop | None:
        return self._strike(Drop, operation=operation)

    def resize_error(self, pool: Pool) -> str | None:
        order = self._strike(ResizeFailure, pool=pool.id)
        return order.code if order else None

    def token_flaw(self, resource: str) -> str | None:
        order = self._strike(TokenFault, resource=resource)
        return order.flaw if order else None

    def core_quota(self, nodes: str, usual: int) -> int:
        """Return the smallest quota that was ordered, but never more than `usual`."""
        orders = [o for o in self._orders() if isinstance(o, CoreQuota)]
        return min([usual, *(order.cores for order in orders if order.nodes == nodes)])

    def is_withdrawn(self, vm_size: str) -> bool:
        orders = [o for o in self._orders() if isinstance(o, SizeWithdrawal)]
        return any(fits(order, {"vm_size": vm_size}) for order in orders)

    def boot_seconds(self, pool: Pool) -> float:
        order = self._strike(Boot, pool=pool.id)
        return order.seconds if order else 0

    def scheduling_seconds(self, task: Task) -> float:
        order = self._strike(SchedulingDelay, task=task.id)
        return order.seconds if order else 0

    def start_task_exit(self, node: Node) -> int | None:
        """Return the exit code that the node's start task is to end with, if any was ordered."""
        for standing in self._standing:
            order = standing.order
            if isinstance(order, StartTaskFailure) and fits(order, {"pool": node.pool.id}):
                room = order.nodes is None or len(standing.nodes) < order.nodes
                if node.id in standing.nodes or room:
                    standing.nodes.add(node.id)
                    return order.exit_code
        return None

    def transfer(
        self, direction: type[DownloadFailure | UploadFailure], task: Task
    ) -> Failure | None:
        order = self._strike(direction, task=task.id)
        return ordered_failure(order.code) if order else None

    def eviction(self, task: Task, node: Node) -> Eviction | None:
        """Return the eviction of the node while the task runs, if any was ordered."""
        if node.dedicated:
            return None
        return self._strike(Eviction, pool=node.pool.id, node=node.id, task=task.id)


def ordered_failure(code: str) -> Failure:
    details = {"Reason": "The local service was told to fail"}
    return Failure(code=code, message="This fault was ordered", details=details)


def fits(order: Order, matching: dict[str, str]) -> bool:
    """Return whether every pattern of the order matches. A pattern that is absent matches all."""
    return all(
        fnmatch.fnmatchcase(value.lower(), (getattr(order, name, None) or "*").lower())
        for name, value in matching.items()
    )
