"""Errors of Azure's APIs: their codes, and which of them are transient."""

from http import HTTPStatus
from typing import Any

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

PERMISSION_MISMATCH = "AuthorizationPermissionMismatch"
TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})


class RefreshFailedError(ClientAuthenticationError):
    """A sign-in that worked before could not be renewed. The network or Entra ID may be down."""


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed later."""
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return error.status_code in TRANSIENT_STATUS
    if isinstance(error, RefreshFailedError):
        return True
    if isinstance(error, ClientAuthenticationError):  # not signed in
        return False
    # An HTTP error without a status is a response that was cut off.
    return isinstance(error, ServiceRequestError | ServiceResponseError | HttpResponseError)


def lacks_role(error: BaseException | None) -> bool:
    """Return whether Azure knows who sends a request, but a role does not allow it (yet).

    Batch says AuthorizationFailure (Azure/BatchExplorer #2203). From Storage, that is a firewall;
    a missing role is AuthorizationPermissionMismatch, also for a SAS token of a signed-in identity:
    https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes
    """
    if not isinstance(error, HttpResponseError) or error.status_code != HTTPStatus.FORBIDDEN:
        return False
    expected = PERMISSION_MISMATCH if is_of_storage(error) else "AuthorizationFailure"
    is_expected = (code_of(error) or "").lower() == expected.lower()
    return is_expected and is_of_identity(error)


def is_of_storage(error: HttpResponseError) -> bool:
    return hasattr(error, "error_code")


def is_of_identity(error: HttpResponseError) -> bool:
    """Return whether a token of Entra ID, or of a user delegation key, came with the request."""
    request: Any = error.response.request if error.response else None
    is_bearer = getattr(request, "headers", {}).get("Authorization", "").startswith("Bearer ")
    return is_bearer or "skoid=" in getattr(request, "url", "")


GONE = ("JobNotFound", "JobBeingDeleted", "PoolNotFound")
ENDED = (*GONE, "PoolBeingDeleted", "JobCompleted", "JobBeingTerminated")


def is_gone(error: HttpResponseError) -> bool:
    """Return whether the run's job or pool was deleted."""
    return code_of(error) in GONE


def is_ended(error: HttpResponseError) -> bool:
    """Return whether a job or pool needs no cleanup. Not every conflict (409) means that."""
    return code_of(error) in ENDED


def code_of(error: HttpResponseError) -> str | None:
    """Return the error's code. Storage's is in an enumeration, Batch's in the response."""
    code = getattr(error, "error_code", None) or getattr(error.error, "code", None)
    return getattr(code, "value", code)
