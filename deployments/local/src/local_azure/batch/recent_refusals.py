"""The latest errors that clients received, for the live page."""

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from starlette.types import Message, Scope, Send

from local_azure.batch.clock import Clock

MOST_REFUSALS = 50
LONGEST_TEXT = 300
FIRST_ERROR_STATUS = 400


@dataclass(frozen=True)
class RecentRefusal:
    """An error, and how often the same request got it."""

    operation: str
    status: int
    code: str
    reason: str
    last: datetime
    count: int = 1


class RecentRefusals:
    """A limited number of refusals, the latest first. Equal ones are counted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: OrderedDict[tuple[str, int, str, str], RecentRefusal] = OrderedDict()

    def __iter__(self) -> Iterator[RecentRefusal]:
        return reversed(self._latest.values())

    def add(self, operation: str, status: int, error: Mapping[str, Any]) -> None:
        """Add a refusal. `error` is the document that the client received."""
        code, reason = str(error.get("code", "")), reason_of(error)
        key = (operation[:LONGEST_TEXT], status, code, reason)
        earlier = self._latest.pop(key, None)
        now = self._clock.now()
        self._latest[key] = (
            replace(earlier, last=now, count=earlier.count + 1)
            if earlier
            else RecentRefusal(*key, last=now)
        )
        if len(self._latest) > MOST_REFUSALS:
            self._latest.popitem(last=False)

    def watching(self, scope: Scope, send: Send) -> Send:
        """Return a `send` that adds the answer to a request if it is an error."""
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif status >= FIRST_ERROR_STATUS:
                operation = f"{scope['method']} {scope['path']}"
                self.add(operation, status, json.loads(message["body"]))
                status = 0
            await send(message)

        return watched


def reason_of(error: Mapping[str, Any]) -> str:
    """Return what the request was refused for. The values that it had may be secrets."""
    details = (e["value"] for e in error.get("values", ()) if not e["key"].endswith("Value"))
    return ": ".join(details)[:LONGEST_TEXT]
