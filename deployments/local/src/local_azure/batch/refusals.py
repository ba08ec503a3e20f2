"""The log of refused requests. What the service does not support is a warning with its property."""

import logging
from http import HTTPStatus

from starlette.types import Scope

from local_azure.batch.error_codes import BatchError

log = logging.getLogger(__name__)


def note(scope: Scope, error: BatchError) -> None:
    """Log the refusal of a request, or of one task in it."""
    level = logging.WARNING if error.status == HTTPStatus.NOT_IMPLEMENTED else logging.INFO
    path = scope["raw_path"].decode("latin-1")[:200]  # encoded: it cannot break the line
    log.log(level, "%s %s refused: %s", scope["method"], path, error)
