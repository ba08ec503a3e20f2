"""The last execution of a task or start task: its times, its result and its failure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# https://learn.microsoft.com/rest/api/batchservice/batch-status-and-error-codes
SERVER_ERRORS = (
    "BlobDownloadMiscError",
    "BlobDownloadTimedOut",
    "DiskFull",
    "ResourceDirectoryCreateFailed",
    "ResourceFileCreateFailed",
    "ResourceFileWriteFailed",
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The `failureInfo` of a task or start task."""

    code: str
    message: str
    is_of_server: bool = False
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def category(self) -> str:
        """The category that the service's table of error codes gives, unless the server failed."""
        is_server_error = self.is_of_server or self.code in SERVER_ERRORS
        return "servererror" if is_server_error else "usererror"

    def wire(self) -> dict[str, Any]:
        details = [{"name": name, "value": value} for name, value in self.details.items()]
        own = {"category": self.category, "code": self.code, "message": self.message}
        return own | ({"details": details} if details else {})


@dataclass(kw_only=True)
class Run:
    """The times and the result of the last execution of a task or start task."""

    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    result: str | None = None
    retries: int = 0
    last_retry: datetime | None = None
    requeues: int = 0
    last_requeue: datetime | None = None

    def begin(self, now: datetime) -> None:
        self.started, self.ended = now, None
        self.exit_code = self.failure = self.result = None

    def end(self, now: datetime, *, exit_code: int | None, failure: Failure | None) -> None:
        self.ended, self.exit_code, self.failure = now, exit_code, failure
        self.result = "failure" if failure else "success"
