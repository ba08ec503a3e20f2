"""Every error of the service: code, status and message."""

from collections.abc import Mapping
from typing import Any

ERRORS: Mapping[str, tuple[int, str]] = {
    "ApplicationNotFound": (404, "The specified application does not exist."),
    "AuthenticationFailed": (403, "Server failed to authenticate the request."),
    "AuthorizationFailure": (403, "The signed-in client has no role that allows this."),
    "AutoScalingFormulaEvaluationError": (400, "The autoscale formula cannot be evaluated."),
    "ConditionNotMet": (412, "The condition given in the request's headers is not met."),
    "FileNotFound": (404, "The specified file does not exist."),
    "InternalError": (500, "The service failed. Its log has the error."),
    "InvalidHeaderValue": (400, "A header of the request has a value that is not valid."),
    "InvalidPropertyValue": (400, "A property in the request's body has an invalid value."),
    "InvalidQueryParameterValue": (400, "A query parameter has a value that is not valid."),
    "InvalidRange": (416, "The range is not valid for the current size of the file."),
    "InvalidRequestBody": (400, "The request's body is not a JSON object in UTF-8."),
    "InvalidUri": (400, "The request's path is not valid."),
    "JobBeingDeleted": (409, "The job is being deleted."),
    "JobBeingTerminated": (409, "The job is being terminated."),
    "JobCompleted": (409, "The job is completed."),
    "JobExists": (409, "A job with this id exists already."),
    "JobNotFound": (404, "The specified job does not exist."),
    "JobScheduleNotFound": (404, "The specified job schedule does not exist."),
    "MissingRequiredProperty": (400, "A required property is missing in the request's body."),
    "NodeNotFound": (404, "The specified node does not exist."),
    "NotImplemented": (501, "This is not supported by the local Batch service."),
    "OperationInvalidForCurrentState": (409, "The operation is not valid in the current state."),
    "OperationTimedOut": (500, "The operation could not be completed within the permitted time."),
    "PoolBeingDeleted": (409, "The pool is being deleted."),
    "PoolBeingResized": (409, "The pool is being resized."),
    "PoolExists": (409, "A pool with this id exists already."),
    "PoolNotFound": (404, "The specified pool does not exist."),
    "RequestBodyTooLarge": (413, "The request's body is larger than the limit of 1 MiB."),
    "ServerBusy": (503, "The server is busy. Try again."),
    "TaskCompleted": (409, "The task is completed."),
    "TaskExists": (409, "A task with this id exists already in the job."),
    "TaskFilesUnavailable": (
        409,
        "The task has no files: it has no node, or its node was removed.",
    ),
    "TaskNotFound": (404, "The specified task does not exist."),
    "TooManyEnableAutoScaleRequests": (503, "Autoscale was enabled less than 30 seconds ago."),
    "TooManyRequests": (429, "Too many requests. Try again later."),
    "UnsupportedQueryParameter": (400, "A query parameter is not supported."),
    "UnsupportedRequestVersion": (400, "The API version of the request is not supported."),
}


class BatchError(Exception):
    """A refusal of a request. `values` become the details in the answer."""

    def __init__(self, code: str, **values: object) -> None:
        self.code = code
        self.status, self.message = ERRORS[code]
        self.headers: dict[str, str] = {}
        self.values = values
        super().__init__(f"{code}: {self.message} {values or ''}".rstrip())

    def body(self) -> dict[str, Any]:
        """Return the error as in an answer, and in the answer to a task collection."""
        details = [{"key": key, "value": str(value)} for key, value in self.values.items()]
        document: dict[str, Any] = {
            "code": self.code,
            "message": {"lang": "en-US", "value": self.message},
        }
        return document | ({"values": details} if details else {})


def invalid_property(name: str, value: object, reason: str) -> BatchError:
    return BatchError("InvalidPropertyValue", PropertyName=name, PropertyValue=value, Reason=reason)


def not_supported(what: str) -> BatchError:
    return BatchError("NotImplemented", Reason=f"{what} is not supported here")
