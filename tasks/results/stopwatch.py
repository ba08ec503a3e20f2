"""When each stage of a run began and ended."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

from tasks.models import Span

Result = TypeVar("Result")


class Stopwatch:
    """When each stage of a run began and ended."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def time(self, name: str, stage: Awaitable[Result]) -> Result:
        started_at = datetime.now(UTC)
        try:
            return await stage
        finally:
            self.spans.append(Span(name, started_at, datetime.now(UTC)))
