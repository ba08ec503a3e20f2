"""Whether this run was cancelled in Prefect.

A worker ends the process of a cancelled run with SIGTERM. A plain script has to ask Prefect.
"""

import logging
from dataclasses import replace
from uuid import UUID

import httpx
from prefect import get_client, runtime
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from tasks.models import Diagnosis

LOOK_SECONDS = 5.0  # between two requests
CANCELLED = Diagnosis(
    "Cancelled", "The run was cancelled in Prefect.", "No file was converting.", "Run again."
)
CANCELLED_BY_SIGNAL = replace(  # by a worker, at any moment
    CANCELLED, detail="", remedy="Run again to convert the rest. Converted files are kept."
)
logger = logging.getLogger(__name__)


class Cancellation:
    """Asks Prefect whether this run is cancelled, at most once every LOOK_SECONDS."""

    def __init__(self) -> None:
        self._run_id: str | None = runtime.flow_run.id
        self._asked_at = 0.0

    async def is_requested(self, *, now_seconds: float) -> bool:
        if self._run_id is None or now_seconds - self._asked_at < LOOK_SECONDS:
            return False
        self._asked_at = now_seconds
        return await is_cancelling(self._run_id)


async def is_cancelling(run_id: str) -> bool:
    """Return whether Prefect says so. An outage of Prefect or a deleted run does not stop a run."""
    try:
        async with get_client() as client:
            state = (await client.read_flow_run(UUID(run_id))).state
    except (httpx.HTTPError, ObjectNotFound, PrefectHTTPStatusError) as error:
        logger.debug("Prefect does not say whether the run is cancelled: %s", error)
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())
