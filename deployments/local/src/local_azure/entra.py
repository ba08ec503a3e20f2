"""The token endpoint of Microsoft Entra ID for the tenant of a stack with TLS.

It has what azure-identity needs: the client-credentials grant, and the documents with which MSAL
finds it. Older clients (ADAL) use the grant of version 1.0.
"""

import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from jwt.algorithms import RSAAlgorithm
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from local_azure.directory import (
    ALGORITHM,
    BRIEF_TOKEN_SECONDS,
    RESOURCES,
    TOKEN_SECONDS,
    Directory,
    Flaw,
)
from local_azure.shared_address import with_routes

EVERYTHING = "/.default"  # the end of a scope: all permissions on the resource before it
LARGEST_FORM_BYTES = 1 << 16


class RefusedToken(Exception):  # noqa: N818  names what was refused
    """A request for a token that Entra ID refuses with the error of this number."""

    def __init__(self, number: int, code: str, message: str, *, status: int = 400) -> None:
        self.number = number
        self.code = code
        self.status = status
        super().__init__(f"AADSTS{number}: {message}")


Form = Mapping[str, str]
FlawOf = Callable[[str], str | None]
"""Returns the flaw that was ordered for the next token for a resource."""


def create_app(directory: Directory, *, flaw_of: FlawOf, otherwise: ASGIApp) -> ASGIApp:
    """Return Entra ID for one directory; pass other requests to `otherwise`."""
    endpoints = TokenEndpoints(directory, flaw_of)
    routes = [
        Route("/{tenant}/oauth2/v2.0/token", endpoints.token, methods=["POST"]),
        Route("/{tenant}/oauth2/token", endpoints.token_v1, methods=["POST"]),
        Route("/{tenant}/v2.0/.well-known/openid-configuration", endpoints.configuration),
        Route("/{tenant}/discovery/v2.0/keys", endpoints.keys),
    ]
    return with_routes(otherwise, routes=routes, exception_handlers={RefusedToken: _refused})


class TokenEndpoints:
    """The HTTP endpoints of a directory."""

    def __init__(self, directory: Directory, flaw_of: FlawOf) -> None:
        self.directory = directory
        self.flaw_of = flaw_of

    async def token(self, request: Request) -> Response:
        """Answer a request for a scope."""
        form = await _form(request)
        token, seconds = self._issue(
            request.path_params["tenant"], form, resource_of=scoped_resource
        )
        return _issued(token, expires_in=seconds - 1, ext_expires_in=seconds - 1)

    async def token_v1(self, request: Request) -> Response:
        """Answer a request for a resource. Version 1.0 answers with numbers as texts."""
        form, now = await _form(request), int(datetime.now(UTC).timestamp())
        token, seconds = self._issue(
            request.path_params["tenant"], form, resource_of=named_resource
        )
        return _issued(
            token,
            expires_in=str(seconds - 1),
            ext_expires_in=str(seconds - 1),
            expires_on=str(now + seconds),
            not_before=str(now),
            resource=form["resource"],
        )

    def _issue(
        self, tenant: str, form: Form, *, resource_of: Callable[[Form], str]
    ) -> tuple[str, int]:
        """Return a token for the form's resource, and the seconds for which it is said to be valid.

        It has the flaw that was ordered for it.

        Raises:
            RefusedToken: The request is not valid, or a refusal was ordered.
        """
        check_tenant(tenant, self.directory)
        check_client(form, self.directory)
        resource = resource_of(form)
        ordered = self.flaw_of(resource)
        flaw = Flaw(ordered) if ordered else None
        if flaw is Flaw.REFUSED:
            raise RefusedToken(
                7000222, "invalid_client", "The client's secret has expired.", status=401
            )
        if flaw is Flaw.UNAVAILABLE:
            raise RefusedToken(
                90033, "temporarily_unavailable", "A transient error has occurred.", status=503
            )
        token = self.directory.issue(
            resource, bearer=self.directory.client, now=datetime.now(UTC), flaw=flaw
        )
        return token, BRIEF_TOKEN_SECONDS if flaw is Flaw.BRIEF else TOKEN_SECONDS

    async def configuration(self, request: Request) -> Response:
        check_tenant(request.path_params["tenant"], self.directory)
        base = f"{request.url.scheme}://{request.url.netloc}/{self.directory.tenant}"
        return JSONResponse(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
            }
        )

    async def keys(self, request: Request) -> Response:
        check_tenant(request.path_params["tenant"], self.directory)
        key = json.loads(RSAAlgorithm.to_jwk(self.directory.public_key))
        names = {"kid": self.directory.key_id, "use": "sig", "alg": ALGORITHM}
        return JSONResponse({"keys": [key | names]})


def check_client(form: Form, directory: Directory) -> None:
    if form.get("grant_type") != "client_credentials":
        raise RefusedToken(
            70003, "unsupported_grant_type", "Only client_credentials is supported here."
        )
    if form.get("client_id") != directory.client:
        raise RefusedToken(
            700016, "unauthorized_client", "The application does not exist in this tenant."
        )
    if not hmac.compare_digest(form.get("client_secret", "").encode(), directory.secret.encode()):
        raise RefusedToken(
            7000215, "invalid_client", "The client's secret is not valid.", status=401
        )


def scoped_resource(form: Form) -> str:
    """Return the resource in the form's scope."""
    scope = form.get("scope", "")
    if not scope.endswith(EVERYTHING):
        message = f"The scope {scope[:200]!r} is not valid: it must end with {EVERYTHING!r}."
        raise RefusedToken(1002012, "invalid_scope", message)
    return check_resource(scope.removesuffix(EVERYTHING))


def named_resource(form: Form) -> str:
    return check_resource(form.get("resource", ""))


def check_resource(resource: str) -> str:
    """Return the resource as the request names it, if the tenant has it."""
    if resource.removesuffix("/") not in RESOURCES:
        raise RefusedToken(
            500011, "invalid_resource", f"The resource {resource!r} does not exist in this tenant."
        )
    return resource


def check_tenant(tenant: str, directory: Directory) -> None:
    if tenant != directory.tenant:
        raise RefusedToken(90002, "invalid_request", f"The tenant {tenant!r} does not exist.")


def _issued(token: str, **rest: object) -> Response:
    answer = {"token_type": "Bearer", "access_token": token, **rest}
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await _body(request)).decode("utf-8", "replace")))


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM_BYTES:
            raise RefusedToken(900144, "invalid_request", "The form is too large.")
    return body


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedToken)  # noqa: S101  registered for this class alone
    description = {"error": error.code, "error_description": str(error)}
    return JSONResponse(description | {"error_codes": [error.number]}, status_code=error.status)
