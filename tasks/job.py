"""The run's Batch job, with a wall clock, and the script that its batch tasks run."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.batch import models
from azure.core.exceptions import ResourceExistsError

from tasks.azure.api_errors import has_code
from tasks.azure.clients import batch_client, blob_service
from tasks.azure.tags import check_own, tags
from tasks.models import Ticket
from tasks.naming import OWN, runner_blob
from tasks.parameters import Request
from tasks.stage import stage

RUNNER = (Path(__file__).parent / "media" / "runner.sh").read_bytes()
LEAST_WALL_CLOCK = timedelta(minutes=1)
logger = logging.getLogger(__name__)


@stage("job")
async def make_job(ticket: Ticket, request: Request) -> None:
    async with blob_service() as service:
        runner = service.get_blob_client(
            request.cleanup.container, runner_blob(ticket.lock_id, RUNNER)
        )
        await runner.upload_blob(RUNNER, overwrite=True, metadata=OWN)
    spec = job_spec(ticket, request, now=datetime.now(UTC))
    async with batch_client() as batch:
        try:
            await batch.create_job(spec)
        except ResourceExistsError as error:
            if not has_code(error, "JobExists"):  # for example, a quota is reached
                raise
            # An earlier request may have succeeded although its response was lost.
            found = await batch.get_job(ticket.job_id)
            check_own("job", ticket.job_id, metadata=found.metadata, ticket=ticket)
    logger.info("Created the job %s", ticket.job_id)


def job_spec(ticket: Ticket, request: Request, *, now: datetime) -> models.BatchJobCreateOptions:
    """Return a job that Batch ends at the deadline, whatever happens to this process."""
    return models.BatchJobCreateOptions(
        id=ticket.job_id,
        pool_info=models.BatchPoolInfo(pool_id=ticket.pool_id),
        priority=request.pool.priority,
        constraints=models.BatchJobConstraints(
            max_wall_clock_time=max(ticket.deadline - now, LEAST_WALL_CLOCK),
        ),
        all_tasks_complete_mode=models.BatchAllTasksCompleteMode.NO_ACTION,
        task_failure_mode=models.BatchTaskFailureMode.NO_ACTION,
        metadata=tags(ticket),
    )
