"""Reads of what the account never has: job schedules, applications, certificates and usage.

They are answered as in an Azure account without any. For usage, azure-cli's recordings show it.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from local_azure.batch import wire
from local_azure.batch.error_codes import BatchError

Endpoint = Callable[[Request], Awaitable[Response]]


def empty(*properties: str) -> Endpoint:
    """Return an endpoint of an empty listing, which can select and filter by these properties."""
    view: wire.View[None] = dict.fromkeys(properties, lambda _: None)

    async def listing(request: Request) -> Response:
        return wire.page(request, (), view, filterable=view)

    return listing


def missing(code: str) -> Endpoint:
    """Return an endpoint of one resource, which does not exist."""

    async def get(_: Request) -> Response:
        raise BatchError(code)

    return get


applications = empty("id", "displayName", "versions")
application = missing("ApplicationNotFound")
certificates = empty("thumbprint", "thumbprintAlgorithm", "url", "state", "stateTransitionTime")
schedules = empty(
    "id",
    "displayName",
    "url",
    "eTag",
    "lastModified",
    "creationTime",
    "state",
    "stateTransitionTime",
    "previousState",
    "previousStateTransitionTime",
    "schedule",
    "jobSpecification",
    "executionInfo",
    "metadata",
    "stats",
)
schedule = missing("JobScheduleNotFound")
usage = empty("poolId", "startTime", "endTime", "vmSize", "totalCoreHours")
