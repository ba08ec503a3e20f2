"""The account: its pools and jobs, and the parts that run them."""

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from local_azure.batch.allocation import Allocation
from local_azure.batch.clock import Clock
from local_azure.batch.dispatch import Dispatch, TaskEvents
from local_azure.batch.execution import Executor
from local_azure.batch.fault_kinds import (
    ClockRate,
    Eviction,
    Lag,
    Loss,
    Order,
    RoleDelay,
    Seed,
    Skew,
)
from local_azure.batch.faults import Faults
from local_azure.batch.job_life import JobLife
from local_azure.batch.node_life import NodeLife
from local_azure.batch.reaper import Reaper
from local_azure.batch.recent_refusals import RecentRefusals
from local_azure.batch.registry import Registry
from local_azure.batch.retention import Retention
from local_azure.batch.roles import Roles
from local_azure.batch.state import Node, Task
from local_azure.batch.task_counts import TaskCounts
from local_azure.batch.transfers import Transfers
from local_azure.batch.workers import Workers

if TYPE_CHECKING:
    from local_azure.directory import Directory


class Service:
    """The parts of the service, each made with the parts below it.

    A part calls those below it. `TaskEvents` are the calls in the other direction.
    """

    def __init__(  # noqa: PLR0913  the properties of an account
        self,
        *,
        account: str,
        data: Path,
        max_nodes: int,
        node_path: str,
        transfers: Transfers,
        directory: "Directory | None",
    ) -> None:
        self.account, self.data, self.max_nodes = account, data, max_nodes
        self.directory = directory
        self.transfers, self.reaper = transfers, Reaper()
        self.registry = registry = Registry()
        self.clock, self.workers, self.faults = Clock(), Workers(), Faults()
        self.roles = Roles(data, clock=self.clock, workers=self.workers)
        self.recent_refusals = RecentRefusals(self.clock)
        self.retention = Retention(self.clock)
        self.task_counts = TaskCounts(registry=registry, clock=self.clock, workers=self.workers)
        self.executor = Executor(
            account=account,
            node_path=node_path,
            clock=self.clock,
            transfers=transfers,
            reaper=self.reaper,
            faults=self.faults,
        )
        self.dispatch = self._make_dispatch()
        self.nodes = NodeLife(
            data=data,
            clock=self.clock,
            workers=self.workers,
            faults=self.faults,
            dispatch=self.dispatch,
            executor=self.executor,
        )
        self.allocation = self._make_allocation()
        self.job_life = JobLife(
            registry=registry,
            clock=self.clock,
            workers=self.workers,
            dispatch=self.dispatch,
            retention=self.retention,
        )

    def _make_dispatch(self) -> Dispatch:
        events = TaskEvents(
            started=self._task_started,
            completed=self._task_completed,
            left=self._task_left,
            failed_inside=self._lose,
        )
        return Dispatch(
            registry=self.registry,
            clock=self.clock,
            workers=self.workers,
            executor=self.executor,
            faults=self.faults,
            events=events,
        )

    def _make_allocation(self) -> Allocation:
        return Allocation(
            data=self.data,
            max_nodes=self.max_nodes,
            registry=self.registry,
            clock=self.clock,
            workers=self.workers,
            faults=self.faults,
            nodes=self.nodes,
            dispatch=self.dispatch,
        )

    def _task_started(self, task: Task, node: Node) -> None:
        if eviction := self.faults.eviction(task, node):
            self._evict(node, eviction)

    def _task_completed(self, task: Task) -> None:
        self.retention.keep(task)
        self.job_life.task_completed(task)

    def _task_left(self, task: Task) -> None:
        self.job_life.advance(task.job)

    def _lose(self, node: Node, reason: str) -> None:
        self.nodes.lose(node, reason)

    def order(self, order: Order) -> None:
        """Carry out an order of a fault, or keep it for when it matches."""
        match order:
            case Seed():
                self.faults.seed(order.seed)
            case ClockRate():
                self.faults.replace(order)
                self.clock.run_at(order.rate)
            case Lag():
                self.faults.replace(order)
                self.task_counts.lag(order.seconds)
            case RoleDelay():
                self.faults.replace(order)
                self.roles.delay(order.seconds)
            case Skew():
                self.faults.replace(order)
            case Loss():
                lost = self.registry.node(order.pool, order.node)
                self._lose(lost, "The node was lost by order")
            case Eviction(pool=str(pool), node=str(node)) if order.names_a_node:
                self._evict(self.registry.node(pool, node), order)
            case _:
                self.faults.add(order)

    def _evict(self, node: Node, order: Eviction) -> None:
        self.nodes.preempt(
            node, after_seconds=order.after_seconds, return_seconds=order.return_seconds
        )

    def clear_faults(self) -> None:
        self.roles.begin()
        self.faults.clear()
        self.task_counts.catch_up()
        self.clock.run_at(1.0)

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.workers.spawn(self.retention.run(), name="retention")

    async def stop(self) -> None:
        """End every process, and delete every node's folder."""
        await self.workers.stop()
        await self.transfers.close()
        self.reaper.close()
        for pool in self.registry.pools.values():
            folder = self.data / pool.id.lower()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
