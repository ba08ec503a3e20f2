"""Changes of a pool's autoscale formula. Batch refuses them at times, and accepts them later.

It accepts one per 30 seconds, and none during a resize, as its specification says of
Pools_EnableAutoScale. It evaluates one formula per 30 seconds, as Microsoft's SDK for .NET says of
`BatchErrorCode.TooManyRequests`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from azure.batch import models
from azure.batch.aio import BatchClient
from azure.core.exceptions import HttpResponseError

from tasks.azure.api_errors import code_of, has_code
from tasks.azure.autoscale import EVALUATION
from tasks.errors import PoolError
from tasks.outages import pause_seconds

REFUSALS = ("TooManyEnableAutoScaleRequests", "TooManyRequests", "PoolBeingResized")
PATIENCE = timedelta(minutes=16)  # a resize lasts 15 minutes at most: Batch's resize timeout
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


async def set_formula(batch: BatchClient, pool_id: str, formula: str) -> None:
    """Set a pool's formula as soon as Batch accepts it. Do nothing if the pool has it already.

    Raises:
        PoolError: Batch refuses it for many minutes.
    """
    await when_accepted(lambda: _enable(batch, pool_id, formula), pool_id=pool_id)


async def try_formula(batch: BatchClient, pool_id: str, formula: str) -> bool:
    """Set a pool's formula. Return False if Batch refuses it for now."""
    try:
        await _enable(batch, pool_id, formula)
    except HttpResponseError as error:
        if not is_refused_for_now(error):
            raise
        return False
    return True


async def _enable(batch: BatchClient, pool_id: str, formula: str) -> None:
    found = await batch.get_pool(pool_id, select=["autoScaleFormula"])
    if found.auto_scale_formula == formula:
        return
    # Batch starts a new schedule of evaluations if the request has an interval.
    scaling = models.BatchPoolEnableAutoScaleOptions(
        auto_scale_formula=formula, auto_scale_evaluation_interval=EVALUATION
    )
    await batch.enable_pool_auto_scale(pool_id, scaling)


async def when_accepted(request: Callable[[], Awaitable[Result]], *, pool_id: str) -> Result:
    """Repeat a request while Batch refuses it for now. Return its result.

    Raises:
        PoolError: Batch refuses it for many minutes.
    """
    began_at, refusals = datetime.now(UTC), 0
    while True:
        try:
            return await request()
        except HttpResponseError as error:
            if not is_refused_for_now(error):
                raise
            refusals += 1
            _check_patience(pool_id, error, waited=datetime.now(UTC) - began_at)
            if refusals == 1:
                logger.info("Waiting until the pool %s can be changed: %s", pool_id, code_of(error))
        await asyncio.sleep(pause_seconds(refusals))


def _check_patience(pool_id: str, error: HttpResponseError, *, waited: timedelta) -> None:
    if waited >= PATIENCE:
        raise PoolError(
            f"The formula of the pool {pool_id!r} could not be changed: Batch still reports"
            f" {code_of(error)} after {PATIENCE // timedelta(minutes=1)} minutes.",
            "Run again. If the pool has nodes that no run needs, delete it in the Azure portal.",
        ) from error


def is_refused_for_now(error: HttpResponseError) -> bool:
    """Return whether Batch will accept the same request in seconds or minutes."""
    return has_code(error, *REFUSALS)
