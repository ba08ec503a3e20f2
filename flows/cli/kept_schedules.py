"""Which schedules a deployment keeps when it is served again: what users decided on the server."""

from collections.abc import Sequence

from prefect import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound


def keep_schedules(served: RunnerDeployment) -> None:
    """Keep what is paused on the server, and the schedules that the file does not have.

    Prefect itself would resume them all. If one has no slug, it would also delete it.
    """
    known = find_deployment(served)
    if known is None:
        return
    served.paused = known.paused
    ours = [each for each in served.schedules or [] if isinstance(each, DeploymentScheduleCreate)]
    served.schedules = list(merged(ours, known.schedules))


def find_deployment(served: RunnerDeployment) -> DeploymentResponse | None:
    with get_client(sync_client=True) as client:
        try:
            return client.read_deployment_by_name(served.full_name)
        except ObjectNotFound:
            return None


def merged(
    ours: Sequence[DeploymentScheduleCreate], known: Sequence[DeploymentSchedule]
) -> Sequence[DeploymentScheduleCreate]:
    """Return the schedules of the file, paused as on the server, and the server's other ones."""
    activity = {each.slug: {"active": each.active} for each in known}
    slugs = {each.slug for each in ours}
    return [
        *(each.model_copy(update=activity.get(each.slug)) for each in ours),
        *(as_it_is(each) for each in known if each.slug not in slugs),
    ]


def as_it_is(known: DeploymentSchedule) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        slug=known.slug,
        schedule=known.schedule,
        active=known.active,
        parameters=known.parameters,
        max_scheduled_runs=known.max_scheduled_runs,
    )
