"""The operations of the API, a module for each kind of resource."""

from collections.abc import Iterable

from starlette.requests import Request

from local_azure.batch.error_codes import not_supported
from local_azure.batch.service import Service
from local_azure.batch.specs import OutputFile, ResourceFile


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def check_identities(service: Service, files: Iterable[ResourceFile | OutputFile]) -> None:
    """Raises BatchError where files name an identity and there is no directory to know it."""
    if service.directory is None and any(file.is_by_identity for file in files):
        raise not_supported("the property 'identityReference', without TLS,")
