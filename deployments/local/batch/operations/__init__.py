"""The operations of the API, a module for each kind of resource."""

from starlette.requests import Request

from deployments.local.batch.service import Service


def of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
