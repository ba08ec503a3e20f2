"""What is not Azure's: the orders of faults."""

from starlette.requests import Request
from starlette.responses import Response

from local_azure.batch import faults, wire
from local_azure.batch.operations import of


async def order(request: Request) -> Response:
    of(request).faults.order((await wire.read(request, faults.AnyOrder)).root)
    return wire.empty(201)


async def listing(request: Request) -> Response:
    return wire.answer({"value": of(request).faults.listing()})


async def clear(request: Request) -> Response:
    of(request).faults.clear()
    return wire.empty(204)
