"""The lives of pools: created, resized by targets or by a formula, deleted."""

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from local_azure.batch import autoscale, scheduler
from local_azure.batch.clock import Clock
from local_azure.batch.dispatch import Dispatch
from local_azure.batch.error_codes import BatchError
from local_azure.batch.faults import Faults
from local_azure.batch.history import PERIOD
from local_azure.batch.metrics import measure
from local_azure.batch.node_life import NodeLife
from local_azure.batch.registry import Registry
from local_azure.batch.sizes import CORES
from local_azure.batch.specs import PoolSpec, vm_cores
from local_azure.batch.state import AllocationState, Node, Pool, PoolState
from local_azure.batch.workers import Workers

RESIZE_MESSAGES = {
    "AccountCoreQuotaReached": "The account has reached its quota of dedicated cores",
    "AccountSpotCoreQuotaReached": "The account has reached its quota of Spot cores",
    "AccountLowPriorityCoreQuotaReached": "The account has reached its quota of Spot cores",
    "AllocationTimedout": "Desired number of nodes could not be allocated in time",
    "UnsupportedVMSize": "The VM size of the nodes is not supported",
    "AllocationFailed": "Desired number of nodes could not be allocated",
    "ResizeStopped": "Desired number of nodes could not be allocated: the resize was stopped",
}


@dataclass(kw_only=True, eq=False)
class Allocation:
    data: Path
    max_nodes: int
    """The account's quota of nodes."""
    registry: Registry
    clock: Clock
    workers: Workers
    faults: Faults
    nodes: NodeLife
    dispatch: Dispatch

    def add(self, spec: PoolSpec) -> Pool:
        key = spec.id.lower()
        present = self.registry.pools.get(key)
        if present is not None:
            deleting = present.state is PoolState.DELETING
            raise BatchError("PoolBeingDeleted" if deleting else "PoolExists")
        pool = Pool(spec=spec, created=self.clock.now())
        if spec.enable_auto_scale:
            autoscale.evaluate(spec.auto_scale_formula or "", self.scene(pool))
        self.registry.pools[key] = pool
        if spec.enable_auto_scale:
            pool.interval = spec.auto_scale_evaluation_interval
            self.scale_by(pool, spec.auto_scale_formula or "")
        else:
            self.resize(
                pool,
                dedicated=spec.target_dedicated_nodes or 0,
                spot=spec.target_low_priority_nodes or 0,
            )
        self.dispatch.wake()
        return pool

    def delete(self, pool: Pool) -> None:
        now = self.clock.now()
        pool.move(PoolState.DELETING, now)
        self._stop_changing(pool)
        pool.target_dedicated = pool.target_spot = 0
        pool.allocate(AllocationState.RESIZING, now)
        removals = [self.nodes.remove(node, "requeue") for node in pool.nodes.values()]
        self.workers.spawn(
            self._delete_when_gone(pool, removals), name=f"deletion of pool {pool.id}"
        )

    async def _delete_when_gone(self, pool: Pool, removals: list[asyncio.Task[None]]) -> None:
        if removals:
            await asyncio.wait(removals)
        await asyncio.to_thread(shutil.rmtree, self.data / pool.id.lower(), ignore_errors=True)
        del self.registry.pools[pool.id.lower()]
        self._resize_held_back()

    def _stop_changing(self, pool: Pool) -> None:
        for worker in (pool.scaling, pool.sampling, pool.resizing):
            if worker is not None:
                worker.cancel()
        pool.scaling = pool.sampling = pool.resizing = None

    def resize(
        self, pool: Pool, *, dedicated: int | None, spot: int | None, option: str = "requeue"
    ) -> None:
        """Start to add or remove nodes until the pool has its targets. None: as it is."""
        now = self.clock.now()
        pool.target_dedicated = pool.target_dedicated if dedicated is None else dedicated
        pool.target_spot = pool.target_spot if spot is None else spot
        if pool.resizing is not None:
            pool.resizing.cancel()
        pool.allocate(AllocationState.RESIZING, now)
        pool.resize_errors = []
        pool.resizing = self.workers.spawn(
            self._resize(pool, option),
            name=f"resize of {pool.id}",
            then=lambda error: self._after_resize(pool, error),
        )

    def _after_resize(self, pool: Pool, error: BaseException | None) -> None:
        if error is not None:
            pool.resize_errors = [resize_error("AllocationFailed", repr(error))]
            pool.allocate(AllocationState.STEADY, self.clock.now())
            pool.resizing = None

    async def _resize(self, pool: Pool, option: str) -> None:
        plan = self._plan(pool)
        ordered = self.faults.resize_error(pool)
        if ordered and plan.add_dedicated + plan.add_spot:
            plan = _held_back(plan, ordered)
        leaving = [
            *_dispensable(pool.members(dedicated=True), plan.remove_dedicated),
            *_dispensable(pool.members(dedicated=False), plan.remove_spot),
        ]
        removals = [self.nodes.remove(node, option) for node in leaving]
        if removals:
            await asyncio.wait(removals)
        for dedicated, count in ((True, plan.add_dedicated), (False, plan.add_spot)):
            for _ in range(count):
                self.nodes.add(pool, dedicated=dedicated)
        reason = "The resize was told to fail" if ordered else self._quota_reason()
        pool.resize_errors = [resize_error(code, reason) for code in plan.errors]
        pool.allocate(AllocationState.STEADY, self.clock.now())
        pool.resizing = None
        if removals:
            self._resize_held_back()

    def _plan(self, pool: Pool) -> scheduler.Resizing:
        used = sum(len(other.nodes) for other in self.registry.pools.values())
        most_nodes = 0 if is_larger_than_quota(pool.spec.vm_size) else self.max_nodes
        return scheduler.resize(
            dedicated=(len(pool.members(dedicated=True)), pool.target_dedicated),
            spot=(len(pool.members(dedicated=False)), pool.target_spot),
            quota_left=most_nodes - used,
        )

    def _quota_reason(self) -> str:
        return f"The account may have {self.max_nodes} nodes of up to {max(CORES)} cores"

    def _resize_held_back(self) -> None:
        """Resize the pools that the quota held back, now that others have given up nodes."""
        for pool in self.registry.pools.values():
            is_refused = any("QuotaReached" in error["code"] for error in pool.resize_errors)
            is_helped = not is_larger_than_quota(pool.spec.vm_size)
            is_ready = pool.state is PoolState.ACTIVE and pool.resizing is None
            if is_refused and is_helped and is_ready:
                self.resize(pool, dedicated=None, spot=None)

    def stop_resize(self, pool: Pool) -> None:
        now = self.clock.now()
        if pool.allocation is not AllocationState.RESIZING or pool.resizing is None:
            raise BatchError("OperationInvalidForCurrentState", Reason="The pool is not resizing")
        pool.resizing.cancel()
        pool.allocate(AllocationState.STOPPING, now)
        pool.resizing = self.workers.spawn(
            self._settle(pool), name=f"end of the resize of {pool.id}"
        )

    async def _settle(self, pool: Pool) -> None:
        pool.resize_errors = [resize_error("ResizeStopped", "A request stopped it")]
        pool.allocate(AllocationState.STEADY, self.clock.now())
        pool.resizing = None

    def scene(self, pool: Pool) -> autoscale.Scene:
        """Return what formulas of this pool can read now."""
        return autoscale.Scene(
            now=self.clock.now(),
            present=measure(pool, self.registry.jobs.values()),
            history=pool.history,
        )

    def scale_by(self, pool: Pool, formula: str) -> None:
        """Evaluate the formula now, and again at each interval."""
        pool.formula = formula
        if pool.sampling is None:
            pool.sampling = self.workers.spawn(self._sample(pool), name=f"samples of {pool.id}")
        if pool.scaling is not None:
            pool.scaling.cancel()
        self._evaluate(pool)
        pool.scaling = self.workers.spawn(self._scale(pool), name=f"autoscale of {pool.id}")

    def stop_scaling(self, pool: Pool) -> None:
        if pool.scaling is not None:
            pool.scaling.cancel()
        pool.scaling = pool.formula = None

    async def _sample(self, pool: Pool) -> None:
        while True:
            measured = measure(pool, self.registry.jobs.values())
            pool.history.add(self.clock.now(), measured)
            await self.clock.sleep(PERIOD.total_seconds())

    async def _scale(self, pool: Pool) -> None:
        while True:
            await self.clock.sleep(pool.interval.total_seconds())
            self._evaluate(pool)

    def _evaluate(self, pool: Pool) -> None:
        """Evaluate the formula, and resize the pool if its nodes differ from the targets.

        Otherwise, the errors of the last resize stay: github.com/nextflow-io/nextflow/pull/7312.
        """
        now = self.clock.now()
        try:
            targets = autoscale.evaluate(pool.formula or "", self.scene(pool))
        except BatchError as error:
            pool.auto_scale_run = scale_failure(error, now)
            return
        pool.auto_scale_run = self.scale_result(pool, targets, now)
        dedicated = pool.target_dedicated if targets.dedicated is None else targets.dedicated
        spot = pool.target_spot if targets.spot is None else targets.spot
        is_set = (dedicated, spot) == (pool.target_dedicated, pool.target_spot)
        nodes = nodes_of(pool)
        if pool.allocation is AllocationState.STEADY and (dedicated, spot) == nodes:
            pool.target_dedicated, pool.target_spot = nodes
        elif not is_set or pool.resize_errors:
            self.resize(pool, dedicated=dedicated, spot=spot, option=targets.deallocation)

    def scale_result(
        self, pool: Pool, targets: autoscale.Targets, now: datetime
    ) -> dict[str, object]:
        results = targets.results(dedicated=pool.target_dedicated, spot=pool.target_spot)
        return {"timestamp": now, "results": results}

    def remove(self, pool: Pool, nodes: Iterable[Node], option: str) -> None:
        """Remove the nodes from the pool, and lower the pool's targets accordingly."""
        nodes = list(nodes)
        dedicated = sum(node.dedicated for node in nodes)
        pool.target_dedicated = max(0, pool.target_dedicated - dedicated)
        pool.target_spot = max(0, pool.target_spot - (len(nodes) - dedicated))
        pool.allocate(AllocationState.RESIZING, self.clock.now())
        removals = [self.nodes.remove(node, option) for node in nodes]
        pool.resizing = self.workers.spawn(
            self._steady_after(pool, removals), name=f"removal of nodes from {pool.id}"
        )

    async def _steady_after(self, pool: Pool, removals: list[asyncio.Task[None]]) -> None:
        if removals:
            await asyncio.wait(removals)
        pool.allocate(AllocationState.STEADY, self.clock.now())
        pool.resizing = None
        self._resize_held_back()


def _dispensable(nodes: list[Node], count: int) -> list[Node]:
    """Return the nodes to remove first: those with the fewest slots in use."""
    return sorted(nodes, key=lambda node: (node.used_slots, node.serial))[:count]


def nodes_of(pool: Pool) -> tuple[int, int]:
    """Return the numbers of dedicated and Spot nodes that are not leaving the pool."""
    return len(pool.members(dedicated=True)), len(pool.members(dedicated=False))


def is_larger_than_quota(vm_size: str) -> bool:
    """Return whether a size has more cores than those that Resource Manager lists.

    In Azure, the quotas of the largest series are zero until a user requests more.
    https://learn.microsoft.com/azure/batch/batch-quota-limit#core-quotas
    """
    return (vm_cores(vm_size) or 0) > max(CORES)


def _held_back(plan: scheduler.Resizing, code: str) -> scheduler.Resizing:
    """Return the plan under an ordered error. A quota is for one kind of node only."""
    spot = "Spot" in code or "LowPriority" in code
    add_dedicated = plan.add_dedicated if spot else 0
    add_spot = plan.add_spot if code == "AccountCoreQuotaReached" else 0
    is_met = (add_dedicated, add_spot) == (plan.add_dedicated, plan.add_spot)
    errors = plan.errors if is_met else (code,)
    return replace(plan, add_dedicated=add_dedicated, add_spot=add_spot, errors=errors)


def resize_error(code: str, reason: str) -> dict[str, object]:
    values = [{"name": "Reason", "value": reason}]
    return {"code": code, "message": RESIZE_MESSAGES.get(code, code), "values": values}


def scale_failure(error: BatchError, now: datetime) -> dict[str, object]:
    details = [{"name": key, "value": str(value)} for key, value in error.values.items()]
    return {
        "timestamp": now,
        "error": {"code": error.code, "message": error.message, "values": details},
    }
