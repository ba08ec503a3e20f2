"""Which error has a pool above its quota, and does it outlast an evaluation without a resize?

The run recognizes codes that end in `CoreQuotaReached`, and ignores errors that are older than it.
The pool asks for one node of a size whose quota is zero unless it was requested. For ten minutes at
most: with a quota, that node would be expensive.
"""

from datetime import UTC, datetime, timedelta

from azure.batch import models

from bench import Bench
from tasks.azure.autoscale import EVALUATION, NO_NODES
from tasks.azure.explanations import explanation

WANTED = (
    "AccountCoreQuotaReached: The account has reached its quota of dedicated cores (Reason: …);"
    " it stays"
)
SIZE = "Standard_M416ms_v2"


async def ask(bench: Bench) -> str:
    name = bench.fresh("pool")
    end = f"{datetime.now(UTC) + timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}"
    shared = await bench.batch.get_pool(bench.pool_id)
    spec = models.BatchPoolCreateOptions(
        id=name,
        vm_size=SIZE,
        virtual_machine_configuration=shared.virtual_machine_configuration,
        enable_auto_scale=True,
        auto_scale_formula=f'$TargetDedicatedNodes = time() < time("{end}") ? 1 : 0;',
        auto_scale_evaluation_interval=timedelta(minutes=5),
    )
    await bench.batch.create_pool(spec)
    try:
        return await ask_about(bench, name)
    finally:
        await bench.batch.begin_delete_pool(name)


async def ask_about(bench: Bench, name: str) -> str:
    async def steady() -> models.BatchPool | None:
        pool = await bench.batch.get_pool(name)
        return pool if pool.allocation_state == models.AllocationState.STEADY else None

    async def evaluated() -> models.BatchPool | None:
        pool = await bench.batch.get_pool(name)
        return pool if pool.auto_scale_run and pool.auto_scale_run.timestamp != before else None

    pool = await bench.until(steady)
    error = next(iter(pool.resize_errors or ()), models.ResizeError())
    before = pool.auto_scale_run.timestamp if pool.auto_scale_run else None
    options = models.BatchPoolEnableAutoScaleOptions(
        auto_scale_formula=NO_NODES, auto_scale_evaluation_interval=EVALUATION
    )
    await bench.batch.enable_pool_auto_scale(name, options)
    pool = await bench.until(evaluated)
    return (
        f"{without_reason(explanation(error))}; it {'stays' if pool.resize_errors else 'is gone'}"
    )


def without_reason(text: str) -> str:
    """Leave out the number of nodes, which differs between local accounts."""
    start, mark, _ = text.partition("(Reason: The account may have")
    return f"{start}(Reason: …)" if mark else text
