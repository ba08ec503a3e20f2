"""The lives of nodes: booted, evicted, lost, rebooted, removed from their pools."""

import asyncio
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from local_azure.batch import node_files, scheduler
from local_azure.batch.clock import Clock
from local_azure.batch.dispatch import Dispatch
from local_azure.batch.error_codes import BatchError
from local_azure.batch.execution import Executor
from local_azure.batch.faults import Faults
from local_azure.batch.run import Run
from local_azure.batch.scheduler import Next
from local_azure.batch.state import Node, NodeState, Pool
from local_azure.batch.workers import Workers

START_TASK_PAUSE_SECONDS = 0.1


@dataclass(kw_only=True, eq=False)
class NodeLife:
    data: Path
    """The folder with a folder for each pool, which has a folder for each node."""
    clock: Clock
    workers: Workers
    faults: Faults
    dispatch: Dispatch
    executor: Executor
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, pool: Pool, *, dedicated: bool) -> None:
        kind = "d" if dedicated else "p"
        node_id = f"tvmps_{next(self._numbers):032x}_{kind}"
        node = Node(
            id=node_id,
            pool=pool,
            folder=self.data / pool.id.lower() / node_id,
            dedicated=dedicated,
            slots=pool.slots_per_node,
            created=self.clock.now(),
        )
        pool.nodes[node_id] = node
        self.boot(node)

    def boot(self, node: Node) -> None:
        node.life = self.workers.spawn(
            self._boot(node),
            name=f"boot of {node.id}",
            then=lambda error: self._after_boot(node, error),
        )

    def _after_boot(self, node: Node, error: BaseException | None) -> None:
        if error is not None:
            self.lose(node, f"The boot of the node failed: {error!r}")

    async def _boot(self, node: Node) -> None:
        clock = self.clock
        node.move(NodeState.STARTING, clock.now())
        await self._wait_as_ordered(self.faults.boot_seconds(node.pool), self.faults.cleared)
        node_files.make_node(node.folder)
        node.booted = clock.now()
        start = node.pool.spec.start_task
        if start is not None and start.wait_for_success:
            node.move(NodeState.WAITING_FOR_START_TASK, clock.now())
            if not await self._run_start_task(node):
                node.move(NodeState.START_TASK_FAILED, clock.now())
                return
        node.move(NodeState.IDLE, clock.now())
        self.dispatch.wake()
        if start is not None and not start.wait_for_success:
            await self._run_start_task(node)

    async def _run_start_task(self, node: Node) -> bool:
        start = node.pool.spec.start_task
        limit = start.max_task_retry_count if start else 0
        run = node.start_run = Run()
        node.start_state = "running"
        run.begin(self.clock.now())
        while True:
            outcome = await self.executor.run_start_task(node)
            now = self.clock.now()
            run.end(now, exit_code=outcome.exit_code, failure=outcome.failure)
            following = scheduler.after_exit(
                exit_code=outcome.exit_code, retries=run.retries, max_retries=limit
            )
            if following is Next.COMPLETE:
                node.start_state = "completed"
                return outcome.failure is None
            run.retries += 1
            run.last_retry = now
            await self.clock.sleep(START_TASK_PAUSE_SECONDS)

    def lose(self, node: Node, reason: str) -> None:
        """Mark a node as unusable, and queue its tasks again."""
        if node.state in {NodeState.LEAVING_POOL, NodeState.UNUSABLE}:
            return
        node.errors.append({"code": "NodeUnusable", "message": reason})
        node.move(NodeState.UNUSABLE, self.clock.now())
        for task in list(node.tasks):
            self.dispatch.requeue(task)

    def preempt(self, node: Node, *, after_seconds: float, return_seconds: float | None) -> None:
        """Evict a Spot node: queue its tasks again, delete its folder, and boot it again later."""
        if node.dedicated:
            raise BatchError(
                "OperationInvalidForCurrentState", Reason="Only Spot nodes can be evicted"
            )
        self.workers.spawn(
            self._preempt(node, after_seconds, return_seconds), name=f"eviction of {node.id}"
        )

    async def _preempt(
        self, node: Node, after_seconds: float, return_seconds: float | None
    ) -> None:
        await self.clock.sleep(after_seconds)
        if node.leaving is not None or node.state is NodeState.PREEMPTED:
            return
        cleared = self.faults.cleared  # clients see the eviction before the node is empty
        _end_life(node)
        node.move(NodeState.PREEMPTED, self.clock.now())
        for task in list(node.tasks):
            self.dispatch.requeue(task, preempted=True)
        await self._empty(node, "requeue")
        await asyncio.to_thread(shutil.rmtree, node.folder, ignore_errors=True)
        if return_seconds is not None:
            await self._wait_as_ordered(return_seconds, cleared)
            if node.state is NodeState.PREEMPTED:
                node.move(NodeState.CREATING, self.clock.now())
                self.boot(node)

    async def _wait_as_ordered(self, seconds: float, cleared: asyncio.Event) -> None:
        """Wait this long, or until the faults are cleared."""
        if not seconds:
            return
        waits = (self.clock.sleep(seconds), cleared.wait())
        waiting = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    def reboot(self, node: Node, option: str) -> None:
        _end_life(node)
        node.move(NodeState.REBOOTING, self.clock.now())
        self.workers.spawn(self._reboot(node, option), name=f"reboot of {node.id}")

    async def _reboot(self, node: Node, option: str) -> None:
        await self._empty(node, option)
        if node.state is NodeState.REBOOTING:
            self.boot(node)

    def remove(self, node: Node, option: str) -> "asyncio.Task[None]":
        if node.leaving is None:
            _end_life(node)
            node.move(NodeState.LEAVING_POOL, self.clock.now())
            node.leaving = self.workers.spawn(
                self._take_out(node, option), name=f"removal of {node.id}"
            )
        elif option != "taskcompletion":
            self.end_tasks(node, option)
        return node.leaving

    async def _take_out(self, node: Node, option: str) -> None:
        await self._empty(node, option)
        await asyncio.to_thread(shutil.rmtree, node.folder, ignore_errors=True)
        del node.pool.nodes[node.id]

    async def _empty(self, node: Node, option: str) -> None:
        """End the node's tasks, unless they may complete, and wait until none runs."""
        if node.life is not None:
            await asyncio.wait({node.life})
        if option not in ("taskcompletion", "retaineddata"):
            self.end_tasks(node, option)
        while workers := {task.worker for task in node.tasks if task.worker is not None}:
            await asyncio.wait(workers)

    def end_tasks(self, node: Node, option: str) -> None:
        for task in list(node.tasks):
            if option == "terminate":
                self.dispatch.end(task, "The node was removed from its pool")
            else:
                self.dispatch.requeue(task)


def _end_life(node: Node) -> None:
    """Cancel the node's boot or start task if it still runs."""
    if node.life is not None and not node.life.cancelling():
        node.life.cancel()
