"""Whether somebody has cancelled this run in Prefect.

A worker ends the process of a run that is cancelled; a plain script has to look for itself.
"""

import logging
from uuid import UUID

import httpx
from prefect import get_client, runtime
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from tasks.models import Diagnosis

LOOK_SECONDS = 5.0  # between two looks
CANCELLED = Diagnosis(
    "Cancelled", "The run was cancelled in Prefect.", "None was converting.", "Run again."
)
logger = logging.getLogger(__name__)


class Cancellation:
    """Asks Prefect, not too often, whether this run is to stop."""

    def __init__(self) -> None:
        self._run_id: str | None = runtime.flow_run.id
        self._asked_at = 0.0

    async def is_wanted(self, *, now_seconds: float) -> bool:
        if self._run_id is None or now_seconds - self._asked_at < LOOK_SECONDS:
            return False
        self._asked_at = now_seconds
        return await is_cancelling(self._run_id)


async def is_cancelling(run_id: str) -> bool:
    """False also where Prefect does not say: neither its outage nor its tidying stops a run."""
    try:
        async with get_client() as client:
            state = (await client.read_flow_run(UUID(run_id))).state
    except (httpx.HTTPError, ObjectNotFound, PrefectHTTPStatusError) as error:
        logger.debug("Prefect does not say whether the run is cancelled: %s", error)
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())
