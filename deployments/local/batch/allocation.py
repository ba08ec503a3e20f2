"""Pools and their nodes: made, booted, resized by targets or formula, lost, removed."""

import asyncio
import itertools
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from deployments.local.batch import autoscale, execution, folders, scheduler
from deployments.local.batch.errors import BatchError
from deployments.local.batch.scheduler import Next
from deployments.local.batch.specs import PoolSpec
from deployments.local.batch.state import AllocationState, Node, NodeState, Pool, PoolState, Run

if TYPE_CHECKING:
    from deployments.local.batch.service import Service

START_TASK_PAUSE_SECONDS = 0.1
RESIZE_MESSAGES = {
    "AccountCoreQuotaReached": "The account has reached its quota of dedicated cores",
    "AccountSpotCoreQuotaReached": "The account has reached its quota of Spot cores",
    "AccountLowPriorityCoreQuotaReached": "The account has reached its quota of Spot cores",
    "AllocationTimedOut": "Desired number of nodes could not be allocated in time",
    "UnsupportedVMSize": "The size of the nodes is not supported here",
    "AllocationFailed": "Desired number of nodes could not be allocated",
    "ResizeStopped": "Desired number of nodes could not be allocated: the resize was stopped",
}


class Allocation:
    def __init__(self, service: "Service") -> None:
        self.service = service
        self._numbers = itertools.count(1)

    # Pools

    def add(self, spec: PoolSpec) -> Pool:
        key = spec.id.lower()
        present = self.service.pools.get(key)
        if present is not None:
            deleting = present.state is PoolState.DELETING
            raise BatchError("PoolBeingDeleted" if deleting else "PoolExists")
        pool = Pool(spec=spec, created=self.service.clock.now())
        if spec.enable_auto_scale:
            autoscale.evaluate(spec.auto_scale_formula or "", self.service.clock.now())
        self.service.pools[key] = pool
        if spec.enable_auto_scale:
            pool.interval = spec.auto_scale_evaluation_interval
            self.scale_by(pool, spec.auto_scale_formula or "")
        else:
            self.resize(
                pool,
                dedicated=spec.target_dedicated_nodes or 0,
                spot=spec.target_low_priority_nodes or 0,
            )
        self.service.dispatch.wake()
        return pool

    def delete(self, pool: Pool) -> None:
        now = self.service.clock.now()
        pool.move(PoolState.DELETING, now)
        self._stop_changing(pool)
        pool.target_dedicated = pool.target_spot = 0
        pool.allocate(AllocationState.RESIZING, now)
        removals = [self._remove(node, "requeue") for node in pool.nodes.values()]
        self.service.workers.spawn(
            self._delete_when_gone(pool, removals), name=f"deletion of pool {pool.id}"
        )

    async def _delete_when_gone(self, pool: Pool, removals: "list[asyncio.Task[None]]") -> None:
        if removals:
            await asyncio.wait(removals)
        await asyncio.to_thread(
            shutil.rmtree, self.service.data / pool.id.lower(), ignore_errors=True
        )
        del self.service.pools[pool.id.lower()]
        self._share_what_is_free()

    def _stop_changing(self, pool: Pool) -> None:
        for worker in (pool.scaling, pool.resizing):
            if worker is not None:
                worker.cancel()
        pool.scaling = pool.resizing = None

    # Sizes

    def resize(
        self, pool: Pool, *, dedicated: int | None, spot: int | None, option: str = "requeue"
    ) -> None:
        """Starts to bring the pool to its targets; None keeps the present target."""
        now = self.service.clock.now()
        pool.target_dedicated = pool.target_dedicated if dedicated is None else dedicated
        pool.target_spot = pool.target_spot if spot is None else spot
        if pool.resizing is not None:
            pool.resizing.cancel()
        pool.allocate(AllocationState.RESIZING, now)
        pool.resize_errors = []
        pool.resizing = self.service.workers.spawn(
            self._resize(pool, option),
            name=f"resize of {pool.id}",
            then=lambda error: self._after_resize(pool, error),
        )

    def _after_resize(self, pool: Pool, error: BaseException | None) -> None:
        if error is not None:
            pool.resize_errors = [resize_error("AllocationFailed")]
            pool.allocate(AllocationState.STEADY, self.service.clock.now())
            pool.resizing = None

    async def _resize(self, pool: Pool, option: str) -> None:
        plan = self._plan(pool)
        code = self.service.faults.resize_error(pool)
        if code and plan.add_dedicated + plan.add_spot:
            plan = replace(plan, add_dedicated=0, add_spot=0, errors=(code,))
        leaving = [
            *_dispensable(pool.members(dedicated=True), plan.remove_dedicated),
            *_dispensable(pool.members(dedicated=False), plan.remove_spot),
        ]
        removals = [self._remove(node, option) for node in leaving]
        if removals:
            await asyncio.wait(removals)
        for dedicated, count in ((True, plan.add_dedicated), (False, plan.add_spot)):
            for _ in range(count):
                self._add_node(pool, dedicated=dedicated)
        pool.resize_errors = [resize_error(code) for code in plan.errors]
        pool.allocate(AllocationState.STEADY, self.service.clock.now())
        pool.resizing = None
        if removals:
            self._share_what_is_free()

    def _plan(self, pool: Pool) -> scheduler.Resizing:
        used = sum(len(other.nodes) for other in self.service.pools.values())
        return scheduler.resize(
            dedicated=(len(pool.members(dedicated=True)), pool.target_dedicated),
            spot=(len(pool.members(dedicated=False)), pool.target_spot),
            quota_left=self.service.max_nodes - used,
        )

    def _share_what_is_free(self) -> None:
        """Lets pools that the quota had held back have what others gave up."""
        for pool in self.service.pools.values():
            short = any("QuotaReached" in error["code"] for error in pool.resize_errors)
            ready = pool.state is PoolState.ACTIVE and pool.resizing is None
            if short and ready:
                self.resize(pool, dedicated=None, spot=None)

    def stop_resize(self, pool: Pool) -> None:
        now = self.service.clock.now()
        if pool.allocation is not AllocationState.RESIZING or pool.resizing is None:
            raise BatchError("OperationInvalidForCurrentState", Reason="The pool is not resizing")
        pool.resizing.cancel()
        pool.allocate(AllocationState.STOPPING, now)
        pool.resizing = self.service.workers.spawn(
            self._settle(pool), name=f"end of the resize of {pool.id}"
        )

    async def _settle(self, pool: Pool) -> None:
        pool.resize_errors = [resize_error("ResizeStopped")]
        pool.allocate(AllocationState.STEADY, self.service.clock.now())
        pool.resizing = None

    # Autoscale

    def scale_by(self, pool: Pool, formula: str) -> None:
        """Evaluates the formula now and at each interval from now on."""
        pool.formula = formula
        if pool.scaling is not None:
            pool.scaling.cancel()
        self._evaluate(pool)
        pool.scaling = self.service.workers.spawn(self._scale(pool), name=f"autoscale of {pool.id}")

    def stop_scaling(self, pool: Pool) -> None:
        if pool.scaling is not None:
            pool.scaling.cancel()
        pool.scaling = pool.formula = None

    async def _scale(self, pool: Pool) -> None:
        while True:
            await self.service.clock.sleep(pool.interval.total_seconds())
            self._evaluate(pool)

    def _evaluate(self, pool: Pool) -> None:
        now = self.service.clock.now()
        try:
            targets = autoscale.evaluate(pool.formula or "", now)
        except BatchError as error:
            pool.auto_scale_run = scale_failure(error, now)
            return
        pool.auto_scale_run = self.scale_result(pool, targets, now)
        dedicated = pool.target_dedicated if targets.dedicated is None else targets.dedicated
        spot = pool.target_spot if targets.spot is None else targets.spot
        reached = (dedicated, spot) == (pool.target_dedicated, pool.target_spot)
        if not reached or pool.resize_errors:
            self.resize(pool, dedicated=dedicated, spot=spot, option=targets.deallocation)

    def scale_result(
        self, pool: Pool, targets: autoscale.Targets, now: datetime
    ) -> dict[str, object]:
        results = targets.results(dedicated=pool.target_dedicated, spot=pool.target_spot)
        return {"timestamp": now, "results": results}

    # Nodes

    def _add_node(self, pool: Pool, *, dedicated: bool) -> None:
        kind = "d" if dedicated else "p"
        node_id = f"tvmps_{next(self._numbers):032x}_{kind}"
        node = Node(
            id=node_id,
            pool=pool,
            folder=self.service.data / pool.id.lower() / node_id,
            dedicated=dedicated,
            slots=pool.slots_per_node,
            created=self.service.clock.now(),
        )
        pool.nodes[node_id] = node
        self.boot(node)

    def boot(self, node: Node) -> None:
        node.life = self.service.workers.spawn(
            self._boot(node),
            name=f"boot of {node.id}",
            then=lambda error: self._after_boot(node, error),
        )

    def _after_boot(self, node: Node, error: BaseException | None) -> None:
        if error is not None:
            self.lose(node, f"Its boot failed: {error!r}")

    async def _boot(self, node: Node) -> None:
        clock = self.service.clock
        node.move(NodeState.STARTING, clock.now())
        await clock.sleep(self.service.faults.boot_seconds(node.pool))
        folders.make_node(node.folder)
        node.booted = clock.now()
        start = node.pool.spec.start_task
        if start is not None and start.wait_for_success:
            node.move(NodeState.WAITING_FOR_START_TASK, clock.now())
            if not await self._run_start_task(node):
                node.move(NodeState.START_TASK_FAILED, clock.now())
                return
        node.move(NodeState.IDLE, clock.now())
        self.service.dispatch.wake()
        if start is not None and not start.wait_for_success:
            await self._run_start_task(node)

    async def _run_start_task(self, node: Node) -> bool:
        start = node.pool.spec.start_task
        limit = start.max_task_retry_count if start else 0
        run = node.start_run = Run()
        node.start_state = "running"
        run.begin(self.service.clock.now())
        while True:
            outcome = await execution.run_start_task(self.service.surroundings(), node)
            now = self.service.clock.now()
            run.end(now, exit_code=outcome.exit_code, failure=outcome.failure)
            following = scheduler.after_exit(
                exit_code=outcome.exit_code, retries=run.retries, max_retries=limit
            )
            if following is Next.COMPLETE:
                node.start_state = "completed"
                return outcome.failure is None
            run.retries += 1
            run.last_retry = now
            await self.service.clock.sleep(START_TASK_PAUSE_SECONDS)

    def lose(self, node: Node, reason: str) -> None:
        """Marks a node as unusable; its tasks wait again."""
        if node.state in {NodeState.LEAVING_POOL, NodeState.UNUSABLE}:
            return
        node.errors.append({"code": "NodeUnusable", "message": reason})
        node.move(NodeState.UNUSABLE, self.service.clock.now())
        for task in list(node.tasks):
            self.service.dispatch.requeue(task)

    def preempt(self, node: Node, *, after_seconds: float, return_seconds: float | None) -> None:
        """Evicts a Spot node: its tasks wait again, its disk is lost, its id comes back."""
        if node.dedicated:
            raise BatchError(
                "OperationInvalidForCurrentState", Reason="Only Spot nodes are evicted"
            )
        self.service.workers.spawn(
            self._preempt(node, after_seconds, return_seconds), name=f"eviction of {node.id}"
        )

    async def _preempt(
        self, node: Node, after_seconds: float, return_seconds: float | None
    ) -> None:
        await self.service.clock.sleep(after_seconds)
        if node.leaving is not None or node.state is NodeState.PREEMPTED:
            return
        _end_life(node)
        node.move(NodeState.PREEMPTED, self.service.clock.now())
        for task in list(node.tasks):
            self.service.dispatch.requeue(task, preempted=True)
        await self._empty(node, "requeue")
        await asyncio.to_thread(shutil.rmtree, node.folder, ignore_errors=True)
        if return_seconds is not None:
            await self.service.clock.sleep(return_seconds)
            if node.state is NodeState.PREEMPTED:
                node.move(NodeState.CREATING, self.service.clock.now())
                self.boot(node)

    def reboot(self, node: Node, option: str) -> None:
        _end_life(node)
        node.move(NodeState.REBOOTING, self.service.clock.now())
        self.service.workers.spawn(self._reboot(node, option), name=f"reboot of {node.id}")

    async def _reboot(self, node: Node, option: str) -> None:
        await self._empty(node, option)
        if node.state is NodeState.REBOOTING:
            self.boot(node)

    def remove(self, pool: Pool, nodes: Iterable[Node], option: str) -> None:
        """Takes these nodes out of the pool, and lowers its targets by them."""
        nodes = list(nodes)
        dedicated = sum(node.dedicated for node in nodes)
        pool.target_dedicated = max(0, pool.target_dedicated - dedicated)
        pool.target_spot = max(0, pool.target_spot - (len(nodes) - dedicated))
        pool.allocate(AllocationState.RESIZING, self.service.clock.now())
        removals = [self._remove(node, option) for node in nodes]
        pool.resizing = self.service.workers.spawn(
            self._steady_after(pool, removals), name=f"removal of nodes from {pool.id}"
        )

    async def _steady_after(self, pool: Pool, removals: "list[asyncio.Task[None]]") -> None:
        if removals:
            await asyncio.wait(removals)
        pool.allocate(AllocationState.STEADY, self.service.clock.now())
        pool.resizing = None
        self._share_what_is_free()

    def _remove(self, node: Node, option: str) -> "asyncio.Task[None]":
        if node.leaving is None:
            _end_life(node)
            node.move(NodeState.LEAVING_POOL, self.service.clock.now())
            node.leaving = self.service.workers.spawn(
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
        """Waits until nothing runs on the node, having ended it unless it may complete."""
        if node.life is not None:
            await asyncio.wait({node.life})
        if option not in ("taskcompletion", "retaineddata"):
            self.end_tasks(node, option)
        while workers := {task.worker for task in node.tasks if task.worker is not None}:
            await asyncio.wait(workers)

    def end_tasks(self, node: Node, option: str) -> None:
        for task in list(node.tasks):
            if option == "terminate":
                self.service.dispatch.end(task, "The node was taken away from the task")
            else:
                self.service.dispatch.requeue(task)


def _end_life(node: Node) -> None:
    """Ends the boot, or the start task, that may still be under way."""
    if node.life is not None and not node.life.cancelling():
        node.life.cancel()


def _dispensable(nodes: list[Node], count: int) -> list[Node]:
    """The nodes to give up first: those that do nothing, then those that do least."""
    return sorted(nodes, key=lambda node: (node.used_slots, node.serial))[:count]


def resize_error(code: str) -> dict[str, object]:
    return {"code": code, "message": RESIZE_MESSAGES.get(code, code)}


def scale_failure(error: BatchError, now: datetime) -> dict[str, object]:
    details = [{"name": key, "value": str(value)} for key, value in error.values.items()]
    return {
        "timestamp": now,
        "error": {"code": error.code, "message": error.message, "values": details},
    }
