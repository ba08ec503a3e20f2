"""The lives of pools: made, resized by targets or by a formula, deleted."""

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from local_azure.batch import autoscale, metrics, scheduler
from local_azure.batch.errors import BatchError
from local_azure.batch.specs import PoolSpec
from local_azure.batch.state import AllocationState, Node, Pool, PoolState

if TYPE_CHECKING:
    from local_azure.batch.service import Service

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

    def add(self, spec: PoolSpec) -> Pool:
        key = spec.id.lower()
        present = self.service.pools.get(key)
        if present is not None:
            deleting = present.state is PoolState.DELETING
            raise BatchError("PoolBeingDeleted" if deleting else "PoolExists")
        pool = Pool(spec=spec, created=self.service.clock.now())
        if spec.enable_auto_scale:
            autoscale.evaluate(spec.auto_scale_formula or "", self.scene(pool))
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
        removals = [self.service.nodes.remove(node, "requeue") for node in pool.nodes.values()]
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
        for worker in (pool.scaling, pool.sampling, pool.resizing):
            if worker is not None:
                worker.cancel()
        pool.scaling = pool.sampling = pool.resizing = None

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
            plan = _held_back(plan, code)
        leaving = [
            *_dispensable(pool.members(dedicated=True), plan.remove_dedicated),
            *_dispensable(pool.members(dedicated=False), plan.remove_spot),
        ]
        removals = [self.service.nodes.remove(node, option) for node in leaving]
        if removals:
            await asyncio.wait(removals)
        for dedicated, count in ((True, plan.add_dedicated), (False, plan.add_spot)):
            for _ in range(count):
                self.service.nodes.add(pool, dedicated=dedicated)
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

    def scene(self, pool: Pool) -> autoscale.Scene:
        """What a formula of this pool is evaluated on, now."""
        return autoscale.Scene(
            now=self.service.clock.now(),
            present=metrics.measure(pool, self.service.jobs.values()),
            history=pool.history,
        )

    def scale_by(self, pool: Pool, formula: str) -> None:
        """Evaluates the formula now and at each interval from now on."""
        pool.formula = formula
        if pool.sampling is None:
            pool.sampling = self.service.workers.spawn(
                self._sample(pool), name=f"samples of {pool.id}"
            )
        if pool.scaling is not None:
            pool.scaling.cancel()
        self._evaluate(pool)
        pool.scaling = self.service.workers.spawn(self._scale(pool), name=f"autoscale of {pool.id}")

    def stop_scaling(self, pool: Pool) -> None:
        if pool.scaling is not None:
            pool.scaling.cancel()
        pool.scaling = pool.formula = None

    async def _sample(self, pool: Pool) -> None:
        while True:
            measured = metrics.measure(pool, self.service.jobs.values())
            pool.history.add(self.service.clock.now(), measured)
            await self.service.clock.sleep(metrics.PERIOD.total_seconds())

    async def _scale(self, pool: Pool) -> None:
        while True:
            await self.service.clock.sleep(pool.interval.total_seconds())
            self._evaluate(pool)

    def _evaluate(self, pool: Pool) -> None:
        now = self.service.clock.now()
        try:
            targets = autoscale.evaluate(pool.formula or "", self.scene(pool))
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

    def remove(self, pool: Pool, nodes: Iterable[Node], option: str) -> None:
        """Takes these nodes out of the pool, and lowers its targets by them."""
        nodes = list(nodes)
        dedicated = sum(node.dedicated for node in nodes)
        pool.target_dedicated = max(0, pool.target_dedicated - dedicated)
        pool.target_spot = max(0, pool.target_spot - (len(nodes) - dedicated))
        pool.allocate(AllocationState.RESIZING, self.service.clock.now())
        removals = [self.service.nodes.remove(node, option) for node in nodes]
        pool.resizing = self.service.workers.spawn(
            self._steady_after(pool, removals), name=f"removal of nodes from {pool.id}"
        )

    async def _steady_after(self, pool: Pool, removals: "list[asyncio.Task[None]]") -> None:
        if removals:
            await asyncio.wait(removals)
        pool.allocate(AllocationState.STEADY, self.service.clock.now())
        pool.resizing = None
        self._share_what_is_free()


def _dispensable(nodes: list[Node], count: int) -> list[Node]:
    """The nodes to give up first: those that do nothing, then those that do least."""
    return sorted(nodes, key=lambda node: (node.used_slots, node.serial))[:count]


def _held_back(plan: scheduler.Resizing, code: str) -> scheduler.Resizing:
    """The plan under an error that was ordered: a quota is of one kind of node only."""
    spot = "Spot" in code or "LowPriority" in code
    add_dedicated = plan.add_dedicated if spot else 0
    add_spot = plan.add_spot if code == "AccountCoreQuotaReached" else 0
    is_met = (add_dedicated, add_spot) == (plan.add_dedicated, plan.add_spot)
    errors = plan.errors if is_met else (code,)
    return replace(plan, add_dedicated=add_dedicated, add_spot=add_spot, errors=errors)


def resize_error(code: str) -> dict[str, object]:
    return {"code": code, "message": RESIZE_MESSAGES.get(code, code)}


def scale_failure(error: BatchError, now: datetime) -> dict[str, object]:
    details = [{"name": key, "value": str(value)} for key, value in error.values.items()]
    return {
        "timestamp": now,
        "error": {"code": error.code, "message": error.message, "values": details},
    }
