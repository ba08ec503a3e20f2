"""Operations on faults, which Azure does not have."""

from starlette.requests import Request
from starlette.responses import Response

from local_azure.batch import wire
from local_azure.batch.fault_kinds import AnyOrder
from local_azure.batch.operations import service_of


async def order(request: Request) -> Response:
    service_of(request).order((await wire.read(request, AnyOrder)).root)
    return wire.empty(201)


async def listing(request: Request) -> Response:
    return wire.answer({"value": service_of(request).faults.listing()})


async def clear(request: Request) -> Response:
    service_of(request).clear_faults()
    return wire.empty(204)
