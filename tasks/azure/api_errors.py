"""Errors of Azure's APIs: their codes, and which of them may pass."""

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return error.status_code in TRANSIENT_STATUS
    if isinstance(error, ClientAuthenticationError):  # nobody is signed in
        return False
    # Without a status, an answer broke off.
    return isinstance(error, ServiceRequestError | ServiceResponseError | HttpResponseError)


GONE = ("JobNotFound", "JobBeingDeleted", "PoolNotFound")


def is_gone(error: HttpResponseError) -> bool:
    """Whether somebody has deleted the run's job or its pool."""
    return code_of(error) in GONE


def code_of(error: HttpResponseError) -> str | None:
    """What Storage (by an enumeration) or Batch calls the error."""
    code = getattr(error, "error_code", None) or getattr(error.error, "code", None)
    return getattr(code, "value", code)
