"""The operations of the API: one module per kind of resource."""

from collections.abc import Iterable

from starlette.requests import Request

from local_azure.batch.error_codes import not_supported
from local_azure.batch.service import Service
from local_azure.batch.specs import OutputFile, ResourceFile


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def check_identities(service: Service, files: Iterable[ResourceFile | OutputFile]) -> None:
    """Refuse files with an identity if the service has no directory."""
    if service.directory is None and any(file.is_by_identity for file in files):
        raise not_supported("the property 'identityReference' without TLS")
