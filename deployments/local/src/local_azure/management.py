"""Azure Resource Manager for the subscription of a stack with TLS.

It answers two requests: the core quotas of the Batch account, and the VM sizes of its region.
"""

import logging
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from local_azure.batch import sizes
from local_azure.batch.service import Service
from local_azure.directory import MANAGEMENT, BadToken, Directory, token_of
from local_azure.shared_address import with_routes

log = logging.getLogger(__name__)

LOCATION = "local"
PAGE = 25  # sizes: few enough to expose a client that reads only one page
API_VERSIONS = ("2024-07-01", "2025-06-01")
QUERY_PARAMETERS = {"api-version", "$skiptoken"}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
ACCOUNTS = "/{subscription}/providers/Microsoft.Batch/batchAccounts"
SIZES = "/{subscription}/providers/Microsoft.Batch/locations/{location}/virtualMachineSkus"


class RefusedRequest(Exception):  # noqa: N818  names what was refused
    """A request that Resource Manager refuses."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        self.status = status
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(message)


def create_app(service: Service, *, directory: Directory, otherwise: ASGIApp) -> ASGIApp:
    """Return Resource Manager for one Batch account; pass other requests to `otherwise`."""
    endpoints = ManagementEndpoints(service, directory)
    routes = [Route(ACCOUNTS, endpoints.accounts), Route(SIZES, endpoints.sizes)]
    return with_routes(
        otherwise,
        routes=[Mount("/subscriptions", routes=routes)],
        exception_handlers={RefusedRequest: _refused, HTTPException: _unknown},
    )


class ManagementEndpoints:
    """The HTTP endpoints of a subscription."""

    def __init__(self, service: Service, directory: Directory) -> None:
        self.service = service
        self.directory = directory

    async def accounts(self, request: Request) -> Response:
        self._admit(request, action="Microsoft.Batch/batchAccounts/read")
        return JSONResponse({"value": [account(self.service, self.directory, request.url.netloc)]})

    async def sizes(self, request: Request) -> Response:
        self._admit(request, action="Microsoft.Batch/locations/virtualMachineSkus/read")
        location = request.path_params["location"]
        if location.replace(" ", "").lower() != LOCATION:
            raise not_registered(f"location {location!r}", f"locations are '{LOCATION}'")
        is_withdrawn = self.service.faults.is_withdrawn
        offered = [size for size in sizes.OFFERED if not is_withdrawn(size.name)]
        return JSONResponse(page([described(size) for size in offered], request))

    def _admit(self, request: Request, *, action: str) -> None:
        bearer = check_token(request, self.directory)
        check_query(request)
        check_subscription(request.path_params["subscription"], self.directory)
        if not (self.directory.has_role(bearer) and self.service.roles.are_effective):
            scope = f"/subscriptions/{self.directory.subscription}"
            message = f"The client {bearer!r} has no role that allows {action!r} over {scope!r}."
            raise RefusedRequest(403, "AuthorizationFailed", message)


def check_token(request: Request, directory: Directory) -> str:
    """Return the bearer of the request's token.

    Raises:
        RefusedRequest: The request has no valid token for Resource Manager.
    """
    try:
        token = token_of(request.headers.get("Authorization"))
        return directory.check(token, resource=MANAGEMENT, now=datetime.now(UTC))
    except BadToken as error:
        place = f"{request.url.scheme}://{request.url.netloc}/{directory.tenant}"
        challenge = f'Bearer authorization_uri="{place}", error="invalid_token"'
        raise RefusedRequest(
            401, "InvalidAuthenticationToken", f"{error}.", WWW_Authenticate=challenge
        ) from None


def check_query(request: Request) -> None:
    if unknown := set(request.query_params) - QUERY_PARAMETERS:
        raise not_supported(f"The query parameter {min(unknown)[:200]!r}")
    if not (version := request.query_params.get("api-version")):
        message = "The query parameter api-version is required."
        raise RefusedRequest(400, "MissingApiVersionParameter", message)
    if version not in API_VERSIONS:
        known = f"api-versions are {', '.join(API_VERSIONS)}"
        raise not_registered(f"API version {version[:40]!r}", known)


def check_subscription(subscription: str, directory: Directory) -> None:
    if not UUID.fullmatch(subscription):
        message = f"The subscription {subscription[:40]!r} is not a UUID."
        raise RefusedRequest(400, "InvalidSubscriptionId", message)
    if subscription.lower() != directory.subscription:
        message = f"The subscription {subscription!r} does not exist."
        raise RefusedRequest(404, "SubscriptionNotFound", message)


def not_registered(what: str, known: str) -> RefusedRequest:
    message = f"No registered resource provider found for {what}. The supported {known}."
    return RefusedRequest(400, "NoRegisteredProviderFound", message)


def not_supported(what: str) -> RefusedRequest:
    log.warning("%s is not supported", what)
    return RefusedRequest(501, "NotImplemented", f"{what} is not supported here.")


def account(service: Service, directory: Directory, endpoint: str) -> dict[str, Any]:
    """Return the Batch account. Its cores suffice for its quota of nodes at the largest size."""
    usual = service.max_nodes * max(sizes.CORES)
    dedicated = service.faults.core_quota("dedicated", usual)
    group = f"/subscriptions/{directory.subscription}/resourceGroups/local"
    return {
        "id": f"{group}/providers/Microsoft.Batch/batchAccounts/{service.account}",
        "name": service.account,
        "type": "Microsoft.Batch/batchAccounts",
        "location": LOCATION,
        "properties": {
            "accountEndpoint": endpoint,
            "provisioningState": "Succeeded",
            "poolAllocationMode": "BatchService",
            "lowPriorityCoreQuota": service.faults.core_quota("spot", usual),
            "dedicatedCoreQuota": dedicated,
            "dedicatedCoreQuotaPerVMFamily": [
                {"name": family, "coreQuota": dedicated} for family in sizes.FAMILIES
            ],
            "dedicatedCoreQuotaPerVMFamilyEnforced": True,
        },
    }


def described(size: sizes.Size) -> dict[str, Any]:
    capabilities = {"vCPUs": str(size.cores), "LowPriorityCapable": "True"}
    return {
        "name": size.name,
        "familyName": size.family,
        "capabilities": [{"name": name, "value": value} for name, value in capabilities.items()],
    }


def page(items: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    """Return the page of items that the request asks for, with a link to the next page."""
    token = request.query_params.get("$skiptoken", "0")
    if not re.fullmatch(r"\d{1,6}", token):
        raise RefusedRequest(400, "InvalidSkipToken", f"The page {token[:40]!r} does not exist.")
    end = int(token) + PAGE
    answer: dict[str, Any] = {"value": items[int(token) : end]}
    if end < len(items):
        query = urlencode(dict(request.query_params) | {"$skiptoken": end})
        answer["nextLink"] = str(request.url.replace(query=query))
    return answer


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedRequest)  # noqa: S101  registered for this class alone
    body = {"error": {"code": error.code, "message": str(error)}}
    return JSONResponse(body, status_code=error.status, headers=error.headers)


async def _unknown(request: Request, _: Exception) -> Response:
    what = f"{request.method} {request.url.path}"
    return await _refused(request, not_supported(what[:200]))
