"""Errors of Azure's APIs: their codes, and which of them are transient."""

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

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
